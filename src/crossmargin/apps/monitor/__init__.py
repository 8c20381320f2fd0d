"""The monitor: accounts judged again and again, alerts raised by rules, and sent so that none is lost or doubled."""
