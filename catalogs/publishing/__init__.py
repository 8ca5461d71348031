"""From the parts of a finished pass to a published version of the catalogue."""
