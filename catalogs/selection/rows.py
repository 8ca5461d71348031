"""What a row must be before it can be cut: our names and types, whatever the table's format and survey."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from skymetal.catalogs.errors import InputError, missing_column, printable
from skymetal.catalogs.healpix import healpix29, valid_positions, wrap_ra

SENTINEL = -9999
"""What SDSS writes for "not measured". It becomes null, but for object_id, where it may be a number like any other."""
SKY = ("ra", "dec")
HEALPIX = "_healpix_29"
GROUP_ID = "group_id"


@dataclass(frozen=True, kw_only=True)
class OnSky:
    """The cut that every table with positions gets: they are finite and on the sky."""

    name: str = "position is on the sky"
    columns: tuple[str, ...] = SKY

    def keep(self, table: pa.Table) -> pa.ChunkedArray:
        """Tell which rows have such a position; a missing one is none."""
        ra_N, dec_N = (table[name].to_numpy() for name in SKY)
        return pa.chunked_array([valid_positions(ra_N, dec_N)], pa.bool_())


def rename_columns(table: pa.Table, columns: Mapping[str, str], *, where: str) -> pa.Table:
    """Give columns our names, as in ``{"object_id": "objID"}``; RA and DEC, as FITS tables have them, are ra and dec.

    Raises InputError where a name is missing or would be there twice, and where ra or dec may be either of two columns.
    """
    for theirs in columns.values():
        if theirs not in table.column_names:
            raise missing_column(where, theirs, table.column_names)
    ours = {theirs: name for name, theirs in columns.items()}
    names = [ours.get(name, name) for name in table.column_names]
    for sky in SKY:
        same = [name for name in names if name.lower() == sky and name not in columns]
        if sky in columns or not same:
            continue
        if len(same) > 1:
            raise InputError(
                f"{where} has the columns {' and '.join(map(repr, same))}; say which is the position and rename the "
                f"other, as in [targets] columns = {{{sky} = '{same[0]}', other_{sky} = '{same[1]}'}}"
            )
        names[names.index(same[0])] = sky
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise InputError(
            f"{where} would have two columns of one name, {printable(repeated[0])!r}, with [targets] columns = "
            f"{dict(columns)}; map the other one to another name"
        )
    return table.rename_columns(names)


def as_targets(table: pa.Table, *, where: str, first_row: int = 0) -> pa.Table:
    """Return a table with object_id in int64, positions in float64 degrees, sentinels null, and no column of ours.

    ``first_row`` is the number of the table's first row within its file, for the errors. Raises InputError for a
    missing or unusable object_id, and for positions that are no decimal degrees or only half there.
    """
    if "object_id" not in table.column_names:
        raise missing_column(where, "object_id", table.column_names)
    if GROUP_ID in table.column_names:
        raise InputError(
            f"{where} has a column 'group_id', which is the name of one that select makes; give it another name: "
            "[targets] columns = {their_group = 'group_id'}"
        )
    for name in table.column_names:
        plain = _plain(table[name].type)
        if plain != table[name].type:
            table = _replace(table, name, pc.cast(table[name], plain))
    if HEALPIX in table.column_names:
        table = table.drop_columns([HEALPIX])  # another's order is not ours
    sky = [name for name in SKY if name in table.column_names]
    if len(sky) == 1:
        raise InputError(f"{where} has {sky[0]} but not the other of ra and dec; name both in [targets] columns")
    table = _replace(table, "object_id", _object_id(table["object_id"], where, first_row))
    for name in sky:
        table = _replace(table, name, _degrees(table[name], name, where))
    table = _null_sentinels(table)
    if sky:
        ra_N = wrap_ra(table["ra"].to_numpy())
        table = _replace(table, "ra", pa.chunked_array([ra_N], pa.float64()))
    rest = [name for name in table.column_names if name not in ("object_id", *sky)]
    return table.select(["object_id", *sky, *rest]).replace_schema_metadata(None)


def with_healpix(table: pa.Table) -> pa.Table:
    """Put the order-29 index behind the positions, which must be on the sky; a table without positions stays."""
    if SKY[0] not in table.column_names:
        return table
    index_N = healpix29(table["ra"].to_numpy(), table["dec"].to_numpy())
    return table.add_column(table.column_names.index("dec") + 1, HEALPIX, pa.array(index_N))


def unify(schemas: Iterable[tuple[str, pa.Schema]]) -> pa.Schema:
    """Return the one schema that holds the columns of all tables, each in a type that loses nothing.

    The columns of the widest table come first; the order of the tables is of no matter. Raises InputError where a
    column is a number here and a word there, or positions are missing in some tables.
    """
    types: dict[str, pa.DataType] = {}
    seen: dict[str, str] = {}
    first_sky: tuple[str, bool] | None = None
    # In an order that depends on the columns alone, and not on the names of the files.
    for where, schema in sorted(schemas, key=lambda item: (-len(item[1]), str(item[1]))):
        has_sky = SKY[0] in schema.names
        if first_sky is None:
            first_sky = where, has_sky
        elif first_sky[1] != has_sky:
            having, lacking = (first_sky[0], where) if first_sky[1] else (where, first_sky[0])
            raise InputError(
                f"{having} has ra and dec but {lacking} has not, and one list cannot be in both orders; "
                "select from them in two jobs, or add the positions"
            )
        for field in schema:
            common = _common_type(types[field.name], field.type) if field.name in types else field.type
            if common is None:
                raise InputError(
                    f"column {printable(field.name)!r} is of type {types[field.name]} in {seen[field.name]} but of "
                    f"type {field.type} in {where}; make them alike, or rename one of them"
                )
            types[field.name] = common
            seen.setdefault(field.name, where)
    return pa.schema(list(types.items()))


def conform(table: pa.Table, schema: pa.Schema, *, where: str) -> pa.Table:
    """Return the table with exactly these columns: what it lacks is null, what has another type is converted.

    Raises InputError for a value that the common type cannot hold exactly.
    """
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        try:
            columns.append(pc.cast(table[field.name], field.type))
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{where}: column {printable(field.name)!r} is of type {field.type} in all tables together, and that "
                f"cannot hold it exactly ({_brief(error)}); make the column's type the same in every table"
            ) from error
    return pa.table(columns, schema=schema)


def _replace(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), pa.field(name, column.type), column)


def _object_id(column: pa.ChunkedArray, where: str, first_row: int) -> pa.ChunkedArray:
    kind = column.type
    if _is_text(kind):
        # "0012" would become 12, and no longer be the name of its image.
        odd = column.filter(pc.invert(pc.match_substring_regex(column, r"^(0|-?[1-9][0-9]*)$"))).drop_null()
        if len(odd):
            raise InputError(
                f"{where}: object_id must be an integer, got {_shown(odd[0])}; write it as digits "
                "alone, without a plus sign or zeros in front"
            )
    elif not (pa.types.is_integer(kind) or pa.types.is_null(kind)):
        hint = "; ids must not be floating-point numbers, nor in text have a plus sign, a point or an exponent"
        raise InputError(
            f"{where}: object_id must be an integer of up to 19 digits, but its column is of type {kind}"
            f"{hint if pa.types.is_floating(kind) else ''}"
        )
    try:
        column = pc.cast(column, pa.int64())
    except pa.ArrowInvalid as error:
        raise InputError(f"{where}: object_id must be an integer below 2^63: {_brief(error)}") from error
    if column.null_count:
        row = first_row + pc.index(pc.is_null(column), True).as_py() + 1
        raise InputError(f"{where}: object_id is missing in row {row}; every galaxy needs one")
    return column


def _degrees(column: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray:
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        odd = column
        if _is_text(kind):  # where all but one value are numbers, that one is what the user looks for
            odd = column.filter(pc.invert(pc.match_substring_regex(column, r"^ *[-+]?[0-9.]+([eE][-+]?[0-9]+)? *$")))
        example = next((f", as in {_shown(value)}" for value in (odd if len(odd) else column) if value.is_valid), "")
        raise InputError(
            f"{where}: {name} must be in decimal degrees, but its column is of type {kind}{example}; "
            "convert sexagesimal positions (12:34:56.7) to degrees first"
        )
    return pc.cast(column, pa.float64(), safe=False)


def _null_sentinels(table: pa.Table) -> pa.Table:
    for name in table.column_names:
        column = table[name]
        if name == "object_id" or not (
            pa.types.is_floating(column.type) or (pa.types.is_signed_integer(column.type) and column.type.bit_width > 8)
        ):
            continue
        missing = pc.equal(column, pa.scalar(SENTINEL, column.type))
        if pc.any(missing).as_py():
            table = _replace(table, name, pc.if_else(missing, pa.scalar(None, column.type), column))
    return table


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type in which values are computed with and kept: no dictionaries, no half floats."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return pa.float32() if pa.types.is_float16(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one == other:
        return one
    if pa.uint64() in (one, other) and pa.types.is_integer(one) and pa.types.is_integer(other):
        return pa.uint64()  # ids beyond 2^63; Arrow would take int64, which cannot hold them
    try:
        schemas = [pa.schema([("x", kind)]) for kind in (one, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field("x").type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None


def _shown(value: pa.Scalar) -> str:
    return f"'{_brief(value.as_py(), 60)}'"


def _brief(value: object, num_characters: int = 160) -> str:
    text = str(value)
    return printable(text if len(text) <= num_characters else text[: num_characters - 1] + "…")
