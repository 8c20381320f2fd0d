/* The same algorithm by hand in C, to know what the machine can do: plain unified pools, marginal brackets for each leg,
   collateral by tiers of amount, pockets, linear and inverse contracts. Figures, bound, verdict; then both sides of every
   line. No fused multiply-add, so the bits are comparable. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define UNIT 1.1102230246251565e-16
#define PRICE_THERE 1
#define EDGE 4

typedef struct {
    const int64_t *start; const uint8_t *law; const uint8_t *reason; const int64_t *position_start;
    const int32_t *asset; const double *cash; const uint8_t *counts;
    const int32_t *instrument; const double *size; const double *entry; const double *leverage;
    const double *x; const double *price; const int32_t *first_row; const double *cap; const double *rate;
    const double *deduction; const double *top_rate; const uint8_t *inverse; const uint8_t *worth;
    const int32_t *first_tier; const double *tier_cap; const double *ratio; const double *credit;
    double liability_ratio; double multiple; int64_t instruments;
    const int64_t *line_start; const int32_t *line_coin; const int64_t *line_holding;
    const int64_t *line_position_start; const int64_t *line_position;
} Book;

static double worth_of(const Book *b, int a, double amount) {
    if (amount < 0) return amount * b->liability_ratio * b->price[a];
    int t = b->first_tier[a];
    if (b->worth[a] == 1) return amount * b->ratio[t] * b->price[a];
    while (amount > b->tier_cap[t]) t++;
    return (amount * b->ratio[t] + b->credit[t]) * b->price[a];
}

void state(const Book *b, int64_t begin, int64_t stop, int full, double *equity, double *maintenance, double *headroom,
           double *bound, uint8_t *status, double *initial, int8_t *level, double *kept_of, double *pnl_of,
           double *required_of, double *rest_of) {
    for (int64_t p = begin; p < stop; p++) {
        int pocket = b->law[p];
        const int32_t *first_row = b->first_row + (pocket ? b->instruments : 0);
        double own = 0, asked = 0, opened = 0, gross = 0;
        int64_t terms = 0;
        for (int64_t h = b->start[p]; h < b->start[p + 1]; h++) {
            int a = b->asset[h];
            double pnl = 0, required = 0, size_of = 0, longs = 0, shorts = 0;
            int64_t first = b->position_start[h], last = b->position_start[h + 1];
            for (int64_t i = first; i < last; i++) {
                int k = b->instrument[i];
                double mark = b->x[k], s = b->size[i], gain = s * (mark - b->entry[i]);
                double value = fabs(s) * fabs(mark);
                int row = first_row[k];
                while (value > b->cap[row]) row++;
                double kept = value * b->rate[row] - b->deduction[row];
                pnl += gain;
                required += kept;
                size_of += fabs(gain) + value + kept;
                if (full) {
                    kept_of[i] = kept;
                    if (s > 0) longs += value / b->leverage[i]; else shorts += value / b->leverage[i];
                }
            }
            double price = pocket ? 1.0 : b->price[a];
            double held = b->counts[h] ? b->cash[h] : fmin(b->cash[h], 0.0);
            double equals = (pocket ? held : worth_of(b, a, held)) + pnl * price;
            own += equals;
            asked += required * price;
            gross += (fabs(b->cash[h]) + size_of) * price;
            terms += last - first + 1;
            if (full) {
                pnl_of[h] = pnl;
                required_of[h] = required;
                rest_of[h] = equals - required * price * b->multiple;
                opened += (longs + shorts) * price;
            }
        }
        double room = own - asked * b->multiple;
        equity[p] = own; maintenance[p] = asked; headroom[p] = room;
        bound[p] = 4 * (1 + b->multiple) * (1 + b->liability_ratio) * (terms + 16) * UNIT * gross;
        int broken = room < 0 || (room == 0 && asked > 0);
        status[p] = broken ? 2 : 0;
        if (full) {
            initial[p] = opened;
            level[p] = broken ? 1 : (own - opened < 0 || (own == opened && opened > 0) ? 0 : -1);
            if (!broken && level[p] == 0) status[p] = 1;
        }
    }
}

/* the piece of headroom (a + b t) that holds at t as one coin moves */
static void tangent(const Book *b, double t, int64_t first, int64_t last, int64_t j, int64_t j_end, int coin, int pocket,
                    const double *kept_of, const double *pnl_of, const double *required_of, const double *rest_of,
                    double *out_a, double *out_b, int *filled) {
    double A = 0, B = 0;
    *filled = 0;
    const int32_t *first_row = b->first_row + (pocket ? b->instruments : 0);
    for (int64_t h = first; h < last; h++) {
        int asset = b->asset[h];
        double p0 = 0, p1 = 0, m0 = 0, m1 = 0, pnl = pnl_of[h], required = required_of[h];
        int straight = 0, inverse = 0;
        for (; j < j_end && b->line_position[j] < b->position_start[h + 1]; j++) {
            int64_t i = b->line_position[j];
            int k = b->instrument[i];
            double mark = b->x[k], s = b->size[i], value = fabs(s) * fabs(mark);
            pnl -= s * (mark - b->entry[i]);
            required -= kept_of[i];
            int row = first_row[k];
            if (b->inverse[k]) {
                inverse = 1;
                while (value / t > b->cap[row]) row++;
                p0 += s * mark; p1 -= s * b->entry[i];
                m0 += b->rate[row] * value; m1 -= b->deduction[row];
            } else {
                straight = 1;
                while (value * t > b->cap[row]) row++;
                p0 -= s * b->entry[i]; p1 += s * mark;
                m0 -= b->deduction[row]; m1 += b->rate[row] * value;
            }
        }
        int shifts = pocket ? inverse : asset == coin;
        if (!(straight || inverse || shifts)) { A += rest_of[h]; *filled |= rest_of[h] != 0; continue; }
        *filled |= straight || inverse || !shifts;
        double c0 = 0, c1 = 0;
        if (shifts) { p1 += pnl; m1 += required; c1 = b->cash[h]; } else { p0 += pnl; m0 += required; c0 = b->cash[h]; }
        double held = c0 + c1 * t, price = pocket ? 1.0 : b->price[asset], e0 = 0, e1 = 0;
        if (b->counts[h] || held <= 0) {
            if (pocket) { e0 = c0; e1 = c1; }
            else {
                double amount = shifts ? held / t : held;
                if (amount < 0) { e0 = b->liability_ratio * price * c0; e1 = b->liability_ratio * price * c1; }
                else {
                    int tier = b->first_tier[asset];
                    if (b->worth[asset] != 1) while (amount > b->tier_cap[tier]) tier++;
                    e0 = b->ratio[tier] * price * c0; e1 = b->ratio[tier] * price * c1;
                    if (shifts) e1 += b->credit[tier] * price; else e0 += b->credit[tier] * price;
                }
            }
        }
        A += e0 + price * p0 - b->multiple * price * m0;
        B += e1 + price * p1 - b->multiple * price * m1;
    }
    *out_a = A; *out_b = B;
}

void crossings(const Book *b, int64_t begin, int64_t stop, const double *headroom, const double *bound,
               const uint8_t *status, const double *kept_of, const double *pnl_of, const double *required_of,
               const double *rest_of, double *below, double *above, uint8_t *below_kind, uint8_t *above_kind) {
    for (int64_t p = begin; p < stop; p++) {
        if (status[p] == 2) {
            for (int64_t l = b->line_start[p]; l < b->line_start[p + 1]; l++) {
                below[l] = above[l] = NAN;
                below_kind[l] = above_kind[l] = 2;
            }
            continue;
        }
        int pocket = b->law[p];
        const int32_t *first_row = b->first_row + (pocket ? b->instruments : 0);
        const double *top_rate = b->top_rate + (pocket ? b->instruments : 0);
        int64_t first = b->start[p], last = b->start[p + 1], h = first;
        double room = headroom[p], err = bound[p];
        for (int64_t l = b->line_start[p]; l < b->line_start[p + 1]; l++) {
            int64_t j = b->line_position_start[l], j_end = b->line_position_start[l + 1], shifting = b->line_holding[l];
            double slope = 0, least = 0, most = 0, value = 0, w = 0;
            int row = 0, k = -1, straight = 1;
            for (int64_t at = j; at < j_end && straight; at++) {
                int64_t i = b->line_position[at];
                while (i >= b->position_start[h + 1]) h++;
                while (i < b->position_start[h]) h--;
                int a = b->asset[h];
                k = b->instrument[i];
                w = (pocket ? 1.0 : b->price[a]) * b->multiple;
                double mark = b->x[k];
                row = first_row[k];
                int lowest = row;
                value = fabs(b->size[i]) * fabs(mark);
                while (value > b->cap[row]) row++;
                double moved = (pocket ? 1.0 : b->price[a]) * (b->size[i] * mark) - w * (b->rate[row] * value);
                double fewer = w * (b->deduction[lowest] - b->deduction[row]);
                double more = w * (b->rate[row] - top_rate[k]) * value;
                if (b->inverse[k]) {
                    if (pocket) shifting = h;
                    straight = h == shifting;
                    moved = -moved;
                    double swap = fewer; fewer = more; more = swap;
                }
                slope += moved; least += fewer; most += more;
            }
            if (shifting >= 0) slope += rest_of[shifting];
            least += room - slope; most += slope;
            int falls = least < 0, rises = most < 0;
            double t = 1.0 - room / slope;
            int inside = t > 1e-3 && j_end == j + 1;
            if (straight && inside) {
                double then = b->inverse[k] ? value / t : value * t;
                inside = then <= b->cap[row] && (row == first_row[k] || then > b->cap[row - 1]);
            }
            int sure = fabs(least) > err && fabs(most) > err && !(falls && rises);
            if (straight && sure && j_end != j + 1 && (falls ? t < 1 : rises && t > 1)) {
                /* several positions: Newton from the root of today's piece, which lies at the losing side of the line's */
                int same = 0;
                while (t > 1e-3 && !same) {
                    double a = room - slope, c = slope;
                    int64_t g = h;
                    for (int64_t at = j; at < j_end; at++) {
                        int64_t i = b->line_position[at];
                        while (i >= b->position_start[g + 1]) g++;
                        while (i < b->position_start[g]) g--;
                        k = b->instrument[i];
                        value = fabs(b->size[i]) * fabs(b->x[k]);
                        double u = (pocket ? 1.0 : b->price[b->asset[g]]) * b->multiple;
                        int own = first_row[k], there = own;
                        double then = b->inverse[k] ? value / t : value * t;
                        while (value > b->cap[own]) own++;
                        while (then > b->cap[there]) there++;
                        double by_deduction = u * (b->deduction[there] - b->deduction[own]);
                        double by_rate = u * (b->rate[own] - b->rate[there]) * value;
                        if (b->inverse[k]) { a += by_rate; c += by_deduction; } else { a += by_deduction; c += by_rate; }
                    }
                    double root = -a / c;
                    same = root == t || !(falls ? root > t : root < t);
                    t = same ? t : root;
                }
                inside = same && t > 1e-3;
            }
            if (straight && sure && !inside && j_end == j + 1 && (falls || rises)) {
                int step = falls != b->inverse[k] ? -1 : 1, lowest = first_row[k], own_row = row;
                while ((step < 0 ? row > lowest : b->cap[row] < INFINITY) && !inside) {
                    row += step;
                    double by_deduction = w * (b->deduction[row] - b->deduction[own_row]);
                    double by_rate = w * (b->rate[own_row] - b->rate[row]) * value, then;
                    if (b->inverse[k]) { t = -(room - slope + by_rate) / (slope + by_deduction); then = value / t; }
                    else { t = -(room - slope + by_deduction) / (slope + by_rate); then = value * t; }
                    inside = t > 1e-3 && (step > 0 ? then <= b->cap[row] : row == lowest || then > b->cap[row - 1]);
                }
            }
            if (straight && sure && (inside || !(falls || rises))) {
                below[l] = falls ? t : NAN; above[l] = rises ? t : NAN;
                below_kind[l] = falls; above_kind[l] = rises;
                continue;
            }
            double a0, b0, a1, b1, an, bn, ends[2] = {NAN, NAN};
            int filled, kinds[2] = {0, 0};
            tangent(b, 1e-18, first, last, j, j_end, b->line_coin[l], pocket, kept_of, pnl_of, required_of, rest_of, &a0, &b0, &filled);
            if (b0 != 0) kinds[0] = fabs(a0) <= err && filled ? EDGE : a0 < -err ? PRICE_THERE : 0;
            tangent(b, 1e18, first, last, j, j_end, b->line_coin[l], pocket, kept_of, pnl_of, required_of, rest_of, &a1, &b1, &filled);
            if (b1 != 0) kinds[1] = fabs(b1) <= err && filled ? EDGE : b1 < -err ? PRICE_THERE : 0;
            if (kinds[0] == PRICE_THERE || kinds[1] == PRICE_THERE)
                tangent(b, 1.0, first, last, j, j_end, b->line_coin[l], pocket, kept_of, pnl_of, required_of, rest_of, &an, &bn, &filled);
            for (int side = 0; side < 2; side++) {
                if (kinds[side] != PRICE_THERE) continue;
                double a = an, s = bn, root = -a / s, at;
                for (int step = 0; step < 10000; step++) {
                    if (side ? !(root > 1 && root < INFINITY) : !(root > 0 && root < 1)) root = side ? 1e18 : 1e-18;
                    at = root;
                    double fa, fb;
                    tangent(b, at, first, last, j, j_end, b->line_coin[l], pocket, kept_of, pnl_of, required_of, rest_of, &fa, &fb, &filled);
                    root = -fa / fb;
                    if ((fa == a && fb == s) || root == at) { ends[side] = root; break; }
                    if (fa + fb * at >= 0 && at != 1e-18 && at != 1e18) { ends[side] = at; break; }
                    a = fa; s = fb;
                }
            }
            below[l] = ends[0]; above[l] = ends[1];
            below_kind[l] = kinds[0]; above_kind[l] = kinds[1];
        }
    }
}

/* the least that any engine must do: touch every byte that the state reads */
double touch(const double *columns, int64_t count) {
    double sums[8] = {0};
    for (int64_t i = 0; i + 8 <= count; i += 8)
        for (int n = 0; n < 8; n++) sums[n] += columns[i + n];
    return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
}
