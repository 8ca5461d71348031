"""Tables: what goes in (survey tables, cuts) and what comes out (the value-added catalogue)."""
