"""The sections of the report, each from the facts of a run to markup."""
