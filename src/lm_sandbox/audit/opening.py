"""Where the audit of a data directory is, and how it is opened."""

from pathlib import Path

from lm_sandbox.audit.log import AuditLog
from lm_sandbox.audit.redaction import DEFAULTS, Redactor
from lm_sandbox.audit.store import AuditStore
from lm_sandbox.config.insight import AuditSettings


def audit_folder(data_dir: Path) -> Path:
    """Returns where it is kept."""
    return data_dir / "audit"


def build_audit(data_dir: Path, settings: AuditSettings) -> AuditLog:
    """Builds it; nothing is opened before its context is entered.

    Raises:
        Invalid: a pattern of the settings is no regular expression.
    """
    redactor = Redactor((*DEFAULTS, *settings.redact), settings.max_text_chars)
    return AuditLog(AuditStore(audit_folder(data_dir), settings, redactor), settings.checkpoint_s)
