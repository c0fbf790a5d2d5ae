"""The templates of the pages, and what every page does to what it shows."""

from base64 import b64encode

from jinja2 import Environment, PackageLoader, StrictUndefined


def templates() -> Environment:
    """Escapes all text; a name that is not given is an error."""
    return Environment(
        loader=PackageLoader("mmcsal.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(data: bytes, kind: str) -> str:
    """A picture that lies in the page itself."""
    return f"data:image/{kind};base64,{b64encode(data).decode()}"
