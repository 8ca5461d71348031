"""A catalogue, or what a query gave, as one file that other programs read: FITS, VOTable, CSV, JSON, Parquet."""
