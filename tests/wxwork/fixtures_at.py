"""Where the tests of the WeCom link keep payloads and vectors."""

from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"


def crypto(name: str) -> bytes:
    return (FIXTURES / "crypto" / name).read_bytes()


def callback(name: str) -> bytes:
    return (FIXTURES / "callbacks" / f"{name}.xml").read_bytes()
