"""What the service says of itself is true: requests made from its description never break it, and answers conform.

Schemathesis makes the requests, in this process, for every route and every scope; the same ones each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema_rs import Draft202012Validator
from schemathesis import checks
from starlette.testclient import TestClient

from crossmargin.apps.questions import QUESTIONS
from crossmargin.apps.server.app import create_app, described
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tokens import create_token

from .conftest import EVERY, EXAMPLES, account

checks.load_all_checks()
CHECKS = [
    checks.CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
]
EXAMPLES_EACH = 6


class Api:
    """The service of the module, with a token for each scope and one for all of them."""

    def __init__(self, where: str) -> None:
        self.store = Store(where)
        # slow questions end soon, so that the run stays short; an answer that takes too long conforms too
        self.app = create_app(Settings(tokens=True, rate=1e6, burst=10**6, timeout=5.0, slow_timeout=5.0), self.store)
        self.schema = schemathesis.openapi.from_dict(described(self.app))
        self.schema.app = self.app
        self.tokens = {scope: self._token((scope,)) for scope in EVERY} | {"every": self._token(EVERY)}

    def _token(self, scopes: tuple[str, ...]) -> dict[str, str]:
        secret, _ = create_token(self.store, "one", "a test", scopes, who="test", days=None)
        return {"Authorization": f"Bearer {secret}"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    made = Api(str(tmp_path_factory.mktemp("description") / "service.db"))
    with TestClient(made.app, base_url="http://localhost") as client:
        for name in ("a", "0"):
            client.put(f"/v1/accounts/{name}", json=account(), headers=made.tokens["every"])
        yield made
    made.store.close()


@pytest.mark.parametrize("scope", [*EVERY, "every"])
def test_no_request_breaks_it_and_answers_are_as_described(api: Api, scope: str) -> None:
    many = EXAMPLES_EACH if scope == "every" else 1
    seen = 0
    for found in api.schema.get_all_operations():
        operation = found.ok()
        seen += 1

        @settings(
            max_examples=many,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            answer = case.call(base_url="http://localhost", headers=api.tokens[scope])
            case.validate_response(answer, checks=CHECKS)

        ask()
    assert seen > 40


def test_every_example_account_is_as_the_description_says(api: Api) -> None:
    made = described(api.app)
    validator = Draft202012Validator({**made, "$ref": "#/components/schemas/AccountFile"})
    accounts = {path.stem: account(path.stem) for path in sorted(EXAMPLES.glob("*.toml"))}
    accounts = {name: table for name, table in accounts.items() if {"balances", "positions"} & table.keys()}
    assert len(accounts) > 20
    for name, table in accounts.items():
        faults = [f"{name}: {error.instance_path} {error.message}" for error in validator.iter_errors(table)]
        assert faults == []


@pytest.mark.parametrize("wrong", ["1e5", " 1", "1_000", "NaN", "+1", "١", "01", "1.", "", "0x1"])
def test_the_description_refuses_the_numbers_that_the_service_refuses(api: Api, wrong: str) -> None:
    made = described(api.app)
    validator = Draft202012Validator({**made, "$ref": "#/components/schemas/AccountFile"})
    body = account("article-2.1-cross")
    body["positions"][0]["quantity"] = wrong
    assert not validator.is_valid(body)
    with TestClient(api.app, base_url="http://localhost") as client:
        found = client.post("/v1/questions/evaluate", json={"account": body}, headers=api.tokens["every"])
    assert found.status_code == 422
    assert found.json()["faults"][0]["path"] == "positions[0].quantity"


def test_the_description_of_an_answer_names_its_fields(api: Api) -> None:
    made = described(api.app)
    validator = Draft202012Validator({**made, "$ref": "#/components/schemas/Answer.evaluate"})
    body = {"account": account("article-2.1-cross")}
    with TestClient(api.app, base_url="http://localhost") as client:
        answer = client.post("/v1/questions/evaluate", json=body, headers=api.tokens["every"]).json()
    assert validator.is_valid(answer)
    pool = {**answer["pools"][0], "headroom": 1955}
    for wrong in (
        {key: value for key, value in answer.items() if key != "headroom"},
        {**answer, "leverage": "10"},
        {**answer, "equity": 2000},
        {**answer, "equity": "2e3"},
        {**answer, "status": "fine"},
        {**answer, "pools": [pool]},
    ):
        assert not validator.is_valid(wrong)


def test_every_question_has_a_description_of_its_answer(api: Api) -> None:
    made = described(api.app)
    for name in QUESTIONS:
        operation = made["paths"][f"/v1/questions/{name}"]["post"]
        reference = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        schema = made["components"]["schemas"][reference.rpartition("/")[2]]
        # one type, or one of several, each of them a table with the fields that it must have
        kinds = [one["$ref"].rpartition("/")[2] for one in schema.get("anyOf", [schema])]
        assert all(made["components"]["schemas"][kind]["additionalProperties"] is False for kind in kinds)
