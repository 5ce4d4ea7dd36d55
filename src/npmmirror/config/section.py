"""What all sections of the configuration share."""

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


def contradiction(message: str, *keys: str) -> PydanticCustomError:
    """The error of keys whose values are possible alone, but not together.

    They are those of the section that raises it, or of several, each with its section.
    """
    return PydanticCustomError("contradiction", "{message}", {"keys": keys, "message": message})


class Section(BaseModel):
    """What all sections share: frozen, no unknown keys, no value of another type made to fit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def not_less(section: Section, greater: str, less: str) -> None:
    """Refuse a section in which the key `greater` has a smaller value than the key `less`."""
    limit, value = getattr(section, greater), getattr(section, less)
    if limit < value:
        raise contradiction(
            f"{greater} ({limit:_}) must not be less than {less} ({value:_})", greater, less
        )
