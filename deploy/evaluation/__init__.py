"""evaluate: of a job or of any table, beside other runs and the paper, on screen and in files."""
