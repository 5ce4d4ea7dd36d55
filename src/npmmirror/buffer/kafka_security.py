"""How brokers are spoken to: certificates, user name and password."""

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from npmmirror.config import KafkaSection
from npmmirror.errors import UsageError


def connection_options(section: KafkaSection) -> dict[str, Any]:
    """What aiokafka's clients take: protocol, certificates, user name and password.

    Raises:
        UsageError: a file cannot be read, or holds something else.
    """
    options: dict[str, Any] = {"security_protocol": section.security_protocol}
    if section.uses_ssl:
        options["ssl_context"] = _context(section)
    if section.uses_sasl:
        options["sasl_mechanism"] = section.sasl_mechanism
        options["sasl_plain_username"] = section.sasl_username
        options["sasl_plain_password"] = _password(section)
    return options


def _password(section: KafkaSection) -> str:
    if section.sasl_password is not None:
        return section.sasl_password.get_secret_value()
    path = section.sasl_password_file
    if path is None:
        raise UsageError("buffer.kafka.sasl_password is not set")
    text = _text(path, "sasl_password_file")
    password = text.removesuffix("\n").removesuffix("\r")
    if not password:
        raise UsageError(f"buffer.kafka.sasl_password_file: {path} is empty")
    return password


def _context(section: KafkaSection) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if section.ssl_ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with _told("ssl_ca"):
            context.load_verify_locations(cadata=_pem(section.ssl_ca, "ssl_ca"))
    context.check_hostname = section.ssl_check_hostname
    if section.ssl_certificate is not None and section.ssl_key is not None:
        certificate = _pem(section.ssl_certificate, "ssl_certificate")
        key = _pem(section.ssl_key.get_secret_value(), "ssl_key")
        with _told("ssl_certificate and ssl_key"):
            _load(context, certificate, key)
    return context


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Python takes a certificate with its key from a file alone; nobody else can read this one."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem", encoding="utf-8") as file:
        file.write(f"{certificate.strip()}\n{key.strip()}\n")
        file.flush()
        # Without a pass phrase it would be asked for on the terminal.
        context.load_cert_chain(file.name, password=lambda: b"")


def _pem(text: str, key: str) -> str:
    if text.lstrip().startswith("-----BEGIN"):
        return text
    return _text(Path(text), key)


def _text(path: Path, key: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"buffer.kafka.{key}: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"buffer.kafka.{key}: {path} is no text") from error


@contextmanager
def _told(key: str) -> Iterator[None]:
    try:
        yield
    except (ssl.SSLError, ValueError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise UsageError(f"buffer.kafka.{key}: no right PEM ({reason})") from error
