"""FITS files whose headers claim what is not so, and how each is refused."""

from __future__ import annotations

import numpy as np
from support.fits_bytes import compressed, header_bytes, image_bytes, image_cards, with_card

EMPTY_PRIMARY = header_bytes({"SIMPLE": True, "BITPIX": 8, "NAXIS": 0})
FAULTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty file"),
    "zeros": (bytes(5760), "not FITS"),
    "html": (b"<!DOCTYPE html><html>Not found</html>" * 100, "not FITS"),
    "one_card": (b"SIMPLE  =                    T", "truncated header"),
    "cut_header": (header_bytes(image_cards((2, 2)))[:2000], "truncated header"),
    "no_end_card": (header_bytes(image_cards((2, 2)), end=False) * 1, "truncated header"),
    "endless_header": (header_bytes(image_cards((2, 2)), end=False) * 400, "no END"),
    "non_ascii": (header_bytes(image_cards((2, 2), OBJECT="'M\xe9re'")), "not printable ASCII"),
    "newline_in_keyword": (header_bytes({"SIMPLE": True, "BIT\nIX": 8, "NAXIS": 0}), "not printable ASCII"),
    "simple_f": (header_bytes({"SIMPLE": False, "BITPIX": 8, "NAXIS": 0}), "SIMPLE = F"),
    "no_value": ((b"SIMPLE  =T".ljust(80) + b"END").ljust(2880), "the first card of HDU 0 is not SIMPLE"),
    "hidden_in_simple": (
        compressed("HCOMPRESS_1").replace(b"EXTNAME =", b"SIMPLE  ="),
        "ZCMPTYPE is 'HCOMPRESS_1'",
    ),
    "order": (header_bytes({"SIMPLE": True, "NAXIS": 0, "BITPIX": 8}), "BITPIX and NAXIS do not follow"),
    "repeated": (header_bytes([*image_cards((2, 2)).items(), ("NAXIS1", 9)]) + bytes(2880), "NAXIS1 stands twice"),
    "bitpix_7": (header_bytes(image_cards((4, 4), BITPIX=7)), "BITPIX is 7"),
    "bitpix_string": (header_bytes(image_cards((4, 4), BITPIX="'-32'")), "BITPIX is '-32'"),
    "naxis_minus_1": (header_bytes(image_cards((4, 4), NAXIS=-1)), "NAXIS is -1"),
    "naxis_999": (header_bytes(image_cards((4, 4), NAXIS=999)), "NAXIS is 999"),
    "naxis_1e9": (header_bytes(image_cards((4, 4), NAXIS=1_000_000_000)), "NAXIS is 1000000000"),
    "naxis_bool": (header_bytes(image_cards((4, 4), NAXIS=True)), "NAXIS is True"),
    "axis_missing": (header_bytes(image_cards((4, 4), NAXIS=3)), "NAXIS3 is None"),
    "axis_negative": (header_bytes(image_cards((4, 4), NAXIS1=-5)), "NAXIS1 is -5"),
    "axis_string": (header_bytes(image_cards((4, 4), NAXIS1="'abc'")), "NAXIS1 is 'abc'"),
    "axis_2_62": (header_bytes(image_cards((4, 4), NAXIS1=2**62)), f"NAXIS1 is {2**62}"),
    "too_many_pixels": (header_bytes(image_cards((100_000, 100_000))), "too many pixels"),
    "claims_400_mb": (
        header_bytes(image_cards((10_000, 10_000))),
        "short data: HDU 0 claims 400000000 bytes, 0 are there",
    ),
    "short": (image_bytes(np.ones((40, 40)))[:-2880], "short data"),
    "pcount_negative": (header_bytes(image_cards((2, 2), PCOUNT=-1)), "PCOUNT is -1"),
    "pcount_huge": (header_bytes(image_cards((2, 2), PCOUNT=2**60)), "PCOUNT"),
    "gcount_0": (header_bytes(image_cards((2, 2), GCOUNT=0)), "GCOUNT is 0"),
    "gcount_1e9": (header_bytes(image_cards((2, 2), GCOUNT=10**9)), "GCOUNT is 1000000000"),
    "random_groups": (header_bytes(image_cards((2, 0), GROUPS=True)), "random groups"),
    "bscale_0": (header_bytes(image_cards((2, 2), BSCALE=0)), "BSCALE is 0"),
    "bscale_nan": (header_bytes(image_cards((2, 2), BSCALE="NaN")), "BSCALE is 'NaN'"),
    "bzero_inf": (header_bytes(image_cards((2, 2), BZERO="1E999")), "BZERO is inf"),
    "trailing_junk": (image_bytes(np.ones((2, 2))) + b"junk" * 720, "not FITS: HDU 1"),
    "ten_thousand_hdus": (
        EMPTY_PRIMARY + header_bytes({"XTENSION": "'IMAGE   '", "BITPIX": 8, "NAXIS": 0}) * 10_000,
        "too many HDUs",
    ),
    "hcompress": (compressed("HCOMPRESS_1"), "ZCMPTYPE is 'HCOMPRESS_1'"),
    "foreign_zcmptype": (with_card(compressed(), "ZCMPTYPE", "'RICE_2'"), "ZCMPTYPE is 'RICE_2'"),
    "znaxis_huge": (with_card(compressed(), "ZNAXIS1", "2000000000"), "too many pixels"),
    "znaxis_0": (with_card(compressed(), "ZNAXIS2", "0"), "no pixels"),
    "ztile_0": (with_card(compressed(), "ZTILE1", "0"), "ZTILE1 is 0"),
    "ztile_other": (with_card(compressed(), "ZTILE1", "5"), "NAXIS2 is 20, expected 120"),
    "zval_other": (with_card(compressed(), "ZVAL1", "33"), "ZVAL1 is 33"),
    "heap_beyond_file": (with_card(compressed(), "PCOUNT", "100000000"), "short data"),
    "tfields_5000": (with_card(compressed(), "TFIELDS", "5000"), "TFIELDS is 5000"),
}
