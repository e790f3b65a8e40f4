"""Bodies with fields that we do not know: no error, but the client is told."""

from pydantic import BaseModel, ConfigDict

LEFT_OUT_HEADER = "x-lm-sandbox-left-out"


class OpenBody(BaseModel):
    """Takes any field, and remembers those that mean nothing here."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    def unknown(self) -> list[str]:
        """Names them."""
        return sorted(self.model_extra or {})


def left_out(names: list[str]) -> dict[str, str]:
    """Writes the header that names what was left out, where something was."""
    told = ", ".join(name.encode("ascii", "replace").decode() for name in names)
    return {LEFT_OUT_HEADER: "".join(c for c in told if c.isprintable())[:1000]} if told else {}
