"""Parsers of Parallel and Map: their nested machines, and the fields of a distributed Map."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.evaluate.expressions import Expression, selection
from perdure.engine.language.evaluate.paths import Steps, compile_path
from perdure.engine.language.model.resources import parse_resource
from perdure.engine.language.model.states import Machine
from perdure.engine.language.parse import fields, quantities
from perdure.engine.language.parse.jsonata_fields import compile_jsonata_field, compile_jsonata_template
from perdure.engine.language.parse.tables import (
    FieldRule,
    FieldScope,
    ObjectCheck,
    ObjectShape,
    Parse,
    exactly_one,
    not_both,
    read_object,
)
from perdure.engine.language.values import Json

LABEL_MAX: Final = 40
"""Characters of a Label (recorded: test_map_state_label_too_long_fail)."""

ITEMS_MAX: Final = 100_000_000
"""The greatest MaxItems (recorded: test_map_item_reader_csv_max_items)."""

_NOT_IN_LABEL: Final = re.compile(r"""[\s?*<>{}\[\]:;,\\|^~$#%&`"/\x00-\x1f\x7f-\x9f]""")


def branches(value: Json, pointer: JsonPointer, scope: FieldScope) -> tuple[Machine, ...]:
    """Parse Branches."""
    if type(value) is not list or not value:
        scope.diagnostics.add(pointer, "must be a list of one or more machines")
        return ()
    parsed = (scope.parse_nested(branch, pointer / index, scope) for index, branch in enumerate(value))
    return tuple(machine for machine in parsed if machine is not None)


def processor(value: Json, pointer: JsonPointer, scope: FieldScope) -> Machine | None:
    """Parse ItemProcessor, or Iterator as it was called."""
    return scope.parse_nested(value, pointer, scope)


def items(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse Items: a list, whose values may be JSONata, or JSONata that gives one."""
    if type(value) is str:
        return compile_jsonata_field(value, pointer, scope, "array")
    if type(value) is not list:
        scope.diagnostics.add(pointer, "must be a list or a JSONata expression")
        return None
    return compile_jsonata_template(value, pointer, scope)


def items_path(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse ItemsPath; None for `$`."""
    path = fields.items_path(value, pointer, scope)
    return None if path is None or path.is_identity else selection(path)


def items_ref(source: Mapping[str, Json]) -> Steps | None:
    """Give the way from the raw input of a valid Map to its items; None if they are computed."""
    if "Items" in source:
        return None
    steps: Steps = ()
    for name in ("InputPath", "ItemsPath"):
        if source.get(name, "$") is None:
            return None
        path = compile_path(source.get(name, "$"))
        if path.steps is None or path.root:
            return None
        steps += path.steps
    return steps


def is_distributed(source: dict[str, Json]) -> bool:
    """Say whether this is a Map that runs its iterations as executions of their own."""
    machine = source.get("ItemProcessor", source.get("Iterator"))
    config = machine.get("ProcessorConfig") if type(machine) is dict else None
    return type(config) is dict and config.get("Mode") == "DISTRIBUTED"


def mode_fits(source: dict[str, Json], pointer: JsonPointer, scope: FieldScope) -> None:
    """Check what depends on whether a Map is distributed."""
    if is_distributed(source):
        if scope.is_express:
            scope.diagnostics.add(pointer, "an Express workflow does not support a distributed Map")
        return
    for name in ("ItemReader", "ItemBatcher", "ResultWriter"):
        if name in source:
            scope.diagnostics.add(pointer / name, f'{name} needs a ProcessorConfig with "Mode": "DISTRIBUTED"')


def _one_of(*words: str) -> Parse:
    def parse(value: Json, pointer: JsonPointer, scope: FieldScope) -> str | None:
        if type(value) is str and value in words:
            return value
        near = scope.diagnostics.suggestion(value, words) if type(value) is str else ""
        scope.diagnostics.add(pointer, f"must be one of {', '.join(words)}{near}")
        return None

    return parse


def _object(shape: ObjectShape) -> Parse:
    def parse(value: Json, pointer: JsonPointer, scope: FieldScope) -> Json:
        return read_object(value, pointer, scope, shape)

    return parse


def _texts(value: Json, pointer: JsonPointer, scope: FieldScope) -> list[str] | None:
    if type(value) is list and value and all(type(item) is str for item in value):
        return value
    scope.diagnostics.add(pointer, "must be a list of one or more strings")
    return None


def _resource(value: Json, pointer: JsonPointer, scope: FieldScope) -> str | None:
    written = fields.text(value, pointer, scope)
    try:
        return None if written is None else parse_resource(written).text
    except ValueError as error:
        scope.diagnostics.add(pointer, str(error))
        return None


def label(value: Json, pointer: JsonPointer, scope: FieldScope) -> str | None:
    """Parse Label (recorded: test_sfn_api_map_run.py)."""
    written = fields.text(value, pointer, scope)
    if written is None:
        return None
    wrong = _NOT_IN_LABEL.search(written)
    if not 0 < len(written) <= LABEL_MAX:
        scope.diagnostics.add(pointer, f"a label has 1 to {LABEL_MAX} characters")
    elif wrong is not None:
        scope.diagnostics.add(pointer, f"a label cannot hold {wrong[0]!a}")
    elif written in scope.labels:
        scope.diagnostics.add(pointer, "another Map has this label already")
    scope.labels.add(written)
    return written


def _needs(condition: Callable[[dict[str, Json]], bool], *names: str) -> ObjectCheck:
    """Make the check that what fulfils a condition has some fields."""

    def check(source: dict[str, Json], pointer: JsonPointer, scope: FieldScope) -> None:
        for name in names:
            if condition(source) and name not in source:
                scope.diagnostics.add(pointer, f"{name} is missing")

    return check


def quantity_fields(quantity: quantities.Quantity, attribute: str = "") -> dict[str, FieldRule]:
    """Make the two rows of a number: as such or in JSONata, and by a path."""
    return {
        quantity.field: FieldRule(attribute, quantities.number(quantity)),
        quantity.field + "Path": FieldRule(attribute, quantities.number_path(quantity), "JSONPath"),
    }


PROCESSOR_CONFIG: Final = ObjectShape(
    {
        "Mode": FieldRule("", _one_of("INLINE", "DISTRIBUTED")),
        "ExecutionType": FieldRule("", _one_of("STANDARD", "EXPRESS")),
    },
    checks=(_needs(lambda source: source.get("Mode") == "DISTRIBUTED", "ExecutionType"),),
)
_SERVICE: Final = {
    "Resource": FieldRule("", _resource),
    "Parameters": FieldRule("", fields.parameters, "JSONPath"),
    "Arguments": FieldRule("", fields.arguments, "JSONata"),
}
_READER_CONFIG: Final = ObjectShape(
    {
        "InputType": FieldRule("", _one_of("CSV", "JSON", "JSONL", "MANIFEST", "PARQUET")),
        "Transformation": FieldRule("", _one_of("NONE", "LOAD_AND_FLATTEN")),
        "ManifestType": FieldRule("", _one_of("ATHENA_DATA", "S3_INVENTORY")),
        "CSVDelimiter": FieldRule("", _one_of("COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB")),
        "CSVHeaderLocation": FieldRule("", _one_of("FIRST_ROW", "GIVEN")),
        "CSVHeaders": FieldRule("", _texts),
        "ItemsPointer": FieldRule("", fields.text),
        **quantity_fields(quantities.count("MaxItems", 0, ITEMS_MAX)),
    },
    checks=(
        not_both("MaxItems", "MaxItemsPath"),
        _needs(lambda source: source.get("CSVHeaderLocation") == "GIVEN", "CSVHeaders"),
    ),
)
_ITEM_READER: Final = ObjectShape(
    {**_SERVICE, "ReaderConfig": FieldRule("", _object(_READER_CONFIG))},
    required=("Resource",),
)
_WRITER_CONFIG: Final = ObjectShape(
    {
        "Transformation": FieldRule("", _one_of("NONE", "COMPACT", "FLATTEN")),
        "OutputType": FieldRule("", _one_of("JSON", "JSONL")),
    },
    required=("OutputType",),
)
_RESULT_WRITER: Final = ObjectShape(
    {**_SERVICE, "WriterConfig": FieldRule("", _object(_WRITER_CONFIG))},
    checks=(_needs(lambda source: "WriterConfig" not in source, "Resource"),),
)
_ITEM_BATCHER: Final = ObjectShape(
    {
        **quantity_fields(quantities.count("MaxItemsPerBatch", 1)),
        **quantity_fields(quantities.count("MaxInputBytesPerBatch", 1)),
        "BatchInput": FieldRule("", fields.template),
    },
    checks=(
        not_both("MaxItemsPerBatch", "MaxItemsPerBatchPath"),
        not_both("MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath"),
    ),
)

processor_config = _object(PROCESSOR_CONFIG)
"""Parses ProcessorConfig."""

CONCURRENCY: Final = quantities.count("MaxConcurrency")
TOLERATED_COUNT: Final = quantities.count("ToleratedFailureCount")
TOLERATED_PERCENTAGE: Final = quantities.percentage("ToleratedFailurePercentage")

MAP_FIELDS: Final[dict[str, FieldRule]] = {
    "ItemProcessor": FieldRule("processor", processor),
    "Iterator": FieldRule("processor", processor),
    "ItemsPath": FieldRule("listing", items_path, "JSONPath"),
    "Items": FieldRule("listing", items, "JSONata"),
    "ItemSelector": FieldRule("item_selector", fields.parameters),
    "Parameters": FieldRule("item_selector", fields.parameters, "JSONPath"),
    **quantity_fields(CONCURRENCY, "concurrency_max"),
    **quantity_fields(TOLERATED_COUNT, "tolerated_count"),
    **quantity_fields(TOLERATED_PERCENTAGE, "tolerated_percentage"),
    "Label": FieldRule("label", label),
    "ItemReader": FieldRule("", _object(_ITEM_READER)),
    "ItemBatcher": FieldRule("", _object(_ITEM_BATCHER)),
    "ResultWriter": FieldRule("", _object(_RESULT_WRITER)),
}
MAP_CHECKS: Final[tuple[ObjectCheck, ...]] = (
    exactly_one("ItemProcessor", "Iterator"),
    not_both("ItemSelector", "Parameters"),
    not_both("MaxConcurrency", "MaxConcurrencyPath"),
    not_both("ToleratedFailureCount", "ToleratedFailureCountPath"),
    not_both("ToleratedFailurePercentage", "ToleratedFailurePercentagePath"),
    mode_fits,
)
