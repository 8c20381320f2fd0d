"""The base of every noun: frozen, keyword-only, no unknown keys, all faults at once with their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from crossmargin.errors import AccountError, CrossmarginError, Fault

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a known key here; remove it or check its spelling",
}


def faults_of(error: ValidationError, prefix: str = "") -> tuple[Fault, ...]:
    """Translate a validation error into faults, one for each field, with dotted paths."""
    faults = []
    for item in error.errors(include_url=False, include_context=False):
        path = prefix
        for part in item["loc"]:
            if isinstance(part, int):
                path += f"[{part}]"
            else:
                path += f".{part}" if path else str(part)
        why = _WORDS.get(item["type"], item["msg"].removeprefix("Value error, "))
        shown = "" if item["type"] == "missing" else _short(item["input"])
        faults.append(Fault(path or "(whole)", shown, why[:1].lower() + why[1:]))
    return tuple(faults)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # pydantic exports no public name for its metaclass


class _NounType(ModelMetaclass):
    """Direct construction from Python raises our error; nested validation keeps collecting faults."""

    error_class: type[CrossmarginError]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except ValidationError as error:
            raise cls.error_class(cls.__name__, faults_of(error)) from None


class Noun(BaseModel, metaclass=_NounType):
    """A frozen value with validated fields. Constructed with keywords; wrong fields raise ``error_class``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, ser_json_inf_nan="null")
    error_class: ClassVar[type[CrossmarginError]] = AccountError
