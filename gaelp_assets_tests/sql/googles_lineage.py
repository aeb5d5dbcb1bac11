"""Lineage as it is read from the resolved tree of Google's own analyzer, to compare `sql.lineage` with.

The tree has one computed column for each expression and no names that could be read in two ways. Only the algebra of `sql.uses` is shared.
"""

# ruff: noqa: N802 - methods are named after the nodes of the analyzer's tree.
from __future__ import annotations

from typing import Any, Final

from gaelp_assets.sql.analyzer import Analyzer
from gaelp_assets.sql.types import type_of_field
from gaelp_assets.sql.uses import (
    CONSTANT,
    NOTHING,
    How,
    Uses,
    Value,
    any_of,
    array,
    column_value,
    passed_on,
    struct,
    transformed,
)

_ELEMENT: Final = {"$array_at_offset", "$safe_array_at_offset", "$array_at_ordinal", "$safe_array_at_ordinal"}
_ONLY_OVER: Final = {
    "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value", "last_value", "nth_value",
    "percentile_cont", "percentile_disc",
}  # fmt: skip
Found = tuple[dict[str, Uses], Uses]


def googles_lineage(gate: Analyzer, sql: str, tables: Any) -> Found:
    """The uses of each column (and field of a STRUCT) of a query's result, and those that decide its rows."""
    statement = gate.analyze(sql)
    reader = _Reader(tables)
    rows = reader.scan(statement.query)
    columns: dict[str, Uses] = {}
    for output in statement.output_column_list:
        _add(columns, output.name, reader.columns[output.column.column_id])
    return columns, rows


def _add(columns: dict[str, Uses], path: str, value: Value) -> None:
    columns[path] = value.whole
    inner = value.element if value.element is not None else value
    for name, part in inner.fields:
        _add(columns, f"{path}.{name}", part)


def _union(*uses: Uses) -> Uses:
    return frozenset().union(*uses)


class _Reader:
    def __init__(self, tables: Any) -> None:
        self._tables = tables
        self.columns: dict[int, Value] = {}
        self._with: dict[str, tuple[list[Value], Uses]] = {}
        self._recursive: list[tuple[list[Value], Uses]] = []

    def scan(self, scan: Any) -> Uses:
        """Notes the columns of a scan, and returns what decides its rows."""
        found: Uses = getattr(self, f"_{type(scan).__name__.removeprefix('Resolved')}")(scan)
        return found

    def _ref(self, ref: Any) -> Value:
        return self.columns[ref.column.column_id]

    def _compute(self, computed: Any) -> Value:
        value = self.columns[computed.column.column_id] = self.value(computed.expr)
        return value

    def _SingleRowScan(self, scan: Any) -> Uses:
        return NOTHING

    def _TableScan(self, scan: Any) -> Uses:
        id_ = scan.table.full_name or scan.table.name
        id_ = next(known for known in self._tables if id_ in (known, known.rpartition(".")[2]))
        for column in scan.column_list:
            field = next(f for f in self._tables[id_] if f.name == column.name)
            self.columns[column.column_id] = column_value(id_, field.name, type_of_field(field))
        return NOTHING

    def _ProjectScan(self, scan: Any) -> Uses:
        rows = self.scan(scan.input_scan)
        for computed in scan.expr_list:
            self._compute(computed)
        return rows

    def _FilterScan(self, scan: Any) -> Uses:
        return self.scan(scan.input_scan) | passed_on(How.FILTER, self.value(scan.filter_expr).whole)

    def _JoinScan(self, scan: Any) -> Uses:
        rows = self.scan(scan.left_scan) | self.scan(scan.right_scan)
        return rows | (passed_on(How.JOIN, self.value(scan.join_expr).whole) if scan.join_expr else NOTHING)

    def _ArrayScan(self, scan: Any) -> Uses:
        rows = self.scan(scan.input_scan) if scan.input_scan else NOTHING
        for expression, column in zip(scan.array_expr_list, scan.element_column_list, strict=True):
            value = self.value(expression)
            self.columns[column.column_id] = value.elements
            if getattr(getattr(expression, "function", None), "name", "") != "ZetaSQL:$make_array":
                rows |= passed_on(How.JOIN, value.whole)
        if scan.array_offset_column:
            self.columns[scan.array_offset_column.column.column_id] = CONSTANT
        return rows | (passed_on(How.JOIN, self.value(scan.join_expr).whole) if scan.join_expr else NOTHING)

    def _AggregateScan(self, scan: Any) -> Uses:
        rows = self.scan(scan.input_scan)
        for computed in scan.group_by_list:
            rows |= passed_on(How.GROUP_BY, self._compute(computed).whole)
        for computed in scan.aggregate_list:
            self._compute(computed)
        return rows

    def _AnalyticScan(self, scan: Any) -> Uses:
        rows = self.scan(scan.input_scan)
        for group in scan.function_group_list:
            frame = NOTHING
            for ref in group.partition_by.partition_by_list if group.partition_by else ():
                frame |= self._ref(ref).whole
            for item in group.order_by.order_by_item_list if group.order_by else ():
                frame |= self._ref(item.column_ref).whole
            for computed in group.analytic_function_list:
                edges = NOTHING
                window = computed.expr.window_frame
                for edge in (window.start_expr, window.end_expr) if window else ():
                    edges |= self.value(edge.expression).whole if edge.expression else NOTHING
                value = self.value(computed.expr)
                self.columns[computed.column.column_id] = value.beside(passed_on(How.WINDOW, frame | edges))
        return rows

    def _OrderByScan(self, scan: Any) -> Uses:
        rows = self.scan(scan.input_scan)
        return rows | passed_on(
            How.SORT, _union(*(self._ref(i.column_ref).whole for i in scan.order_by_item_list))
        )

    def _LimitOffsetScan(self, scan: Any) -> Uses:
        return self.scan(scan.input_scan)

    def _item(self, item: Any) -> tuple[list[Value], Uses]:
        rows = self.scan(item.scan)
        return [self.columns[c.column_id] for c in item.output_column_list], rows

    def _SetOperationScan(self, scan: Any) -> Uses:
        items = [self._item(item) for item in scan.input_item_list]
        kind = scan.op_type.name
        rows = _union(*(rows for _, rows in items))
        if not kind.startswith("UNION"):
            rows |= passed_on(How.FILTER, _union(*(v.whole for values, _ in items for v in values)))
        for number, column in enumerate(scan.column_list):
            sides = [values[number] for values, _ in items]
            self.columns[column.column_id] = sides[0] if kind.startswith("EXCEPT") else any_of(sides)
        if kind.endswith("DISTINCT"):
            rows |= passed_on(
                How.GROUP_BY, _union(*(self.columns[c.column_id].whole for c in scan.column_list))
            )
        return rows

    def _WithScan(self, scan: Any) -> Uses:
        for entry in scan.with_entry_list:
            rows = self.scan(entry.with_subquery)
            self._with[entry.with_query_name] = (
                [self.columns[c.column_id] for c in entry.with_subquery.column_list],
                rows,
            )
        return self.scan(scan.query)

    def _WithRefScan(self, scan: Any) -> Uses:
        return self._bring(scan, self._with[scan.with_query_name])

    def _bring(self, scan: Any, found: tuple[list[Value], Uses]) -> Uses:
        for column, value in zip(scan.column_list, found[0], strict=True):
            self.columns[column.column_id] = value
        return found[1]

    def _RecursiveScan(self, scan: Any) -> Uses:
        found = self._item(scan.non_recursive_term)
        while True:
            self._recursive.append(found)
            values, rows = self._item(scan.recursive_term)
            self._recursive.pop()
            grown = [any_of(pair) for pair in zip(found[0], values, strict=True)]
            after = (grown, found[1] | rows)
            if scan.op_type.name.endswith("DISTINCT"):
                after = (grown, after[1] | passed_on(How.GROUP_BY, _union(*(v.whole for v in grown))))
            if after == found:
                return self._bring(scan, found)
            found = after

    def _RecursiveRefScan(self, scan: Any) -> Uses:
        return self._bring(scan, self._recursive[-1])

    def _PivotScan(self, scan: Any) -> Uses:
        rows = self.scan(scan.input_scan)
        for computed in scan.group_by_list:
            rows |= passed_on(How.GROUP_BY, self._compute(computed).whole)
        condition = passed_on(How.CONDITIONAL, self.value(scan.for_expr).whole)
        for pivoted in scan.pivot_column_list:
            value = self.value(scan.pivot_expr_list[pivoted.pivot_expr_index or 0])
            self.columns[pivoted.column.column_id] = value.beside(condition)
        return rows

    def _UnpivotScan(self, scan: Any) -> Uses:
        rows = self.scan(scan.input_scan)
        for number, column in enumerate(scan.value_column_list):
            sides = [self._ref(argument.column_list[number]) for argument in scan.unpivot_arg_list]
            self.columns[column.column_id] = any_of(sides)
            if not scan.include_nulls:
                rows |= passed_on(How.FILTER, _union(*(side.whole for side in sides)))
        self.columns[scan.label_column.column_id] = CONSTANT
        for computed in scan.projected_input_column_list:
            self._compute(computed)
        return rows

    def value(self, node: Any) -> Value:
        """What an expression is made of."""
        found: Value = getattr(self, f"_{type(node).__name__.removeprefix('Resolved')}")(node)
        return found

    def _Literal(self, node: Any) -> Value:
        return CONSTANT

    def _ColumnRef(self, node: Any) -> Value:
        return self._ref(node)

    def _Cast(self, node: Any) -> Value:
        return self.value(node.expr).used(How.TRANSFORMATION)

    def _MakeStruct(self, node: Any) -> Value:
        names = [field.field_name for field in node.type.struct_type.field]
        return struct([(n, self.value(part)) for n, part in zip(names, node.field_list, strict=True)])

    def _GetStructField(self, node: Any) -> Value:
        value, place = self.value(node.expr), node.field_idx or 0
        return value.fields[place][1] if value.fields else Value(value.whole)

    def _GetJsonField(self, node: Any) -> Value:
        return self.value(node.expr).used(How.TRANSFORMATION)

    def _FunctionCall(self, node: Any) -> Value:
        name = node.function.name.removeprefix("ZetaSQL:")
        values = [self.value(part) for part in node.argument_list]
        if name == "$make_array":
            return array(values)
        if name in _ELEMENT:
            return values[0].elements.used(How.TRANSFORMATION).beside(transformed(values[1:]))
        if name == "if":
            return self._chosen(values[:1], values[1:])
        if name == "$case_no_value":
            return self._chosen(
                values[:-1:2], [*values[1:-1:2], values[-1]] if len(values) % 2 else values[1::2]
            )
        if name == "$case_with_value":
            rest = values[1:]
            results = [*rest[1:-1:2], rest[-1]] if len(rest) % 2 else rest[1::2]
            return self._chosen([values[0], *rest[: len(rest) // 2 * 2 : 2]], results)
        if name in {"coalesce", "ifnull"}:
            return any_of([value.used(How.TRANSFORMATION) for value in values])
        return Value(transformed(values))

    def _chosen(self, conditions: list[Value], results: list[Value]) -> Value:
        decide = passed_on(How.CONDITIONAL, _union(*(c.whole for c in conditions)))
        return any_of([r.used(How.TRANSFORMATION) for r in results]).beside(decide)

    def _AggregateFunctionCall(self, node: Any) -> Value:
        name = node.function.name.removeprefix("ZetaSQL:")
        values = [self.value(part) for part in node.argument_list]
        order = _union(*(self._ref(i.column_ref).whole for i in node.order_by_item_list))
        return self._aggregated(name, values).beside(passed_on(How.SORT, order))

    def _aggregated(self, name: str, values: list[Value]) -> Value:
        one = values[0].used(How.AGGREGATION) if values else CONSTANT
        if name == "array_agg":
            return Value(one.whole, element=one)
        if name == "any_value":
            return one
        return Value(passed_on(How.AGGREGATION, _union(*(v.whole for v in values))))

    def _AnalyticFunctionCall(self, node: Any) -> Value:
        name = node.function.name.removeprefix("ZetaSQL:")
        values = [self.value(part) for part in node.argument_list]
        return Value(transformed(values)) if name in _ONLY_OVER else self._aggregated(name, values)

    def _SubqueryExpr(self, node: Any) -> Value:
        rows = self.scan(node.subquery)
        kind = node.subquery_type.name if node.subquery_type is not None else "SCALAR"
        if kind == "EXISTS":
            return Value(rows)
        value = self.columns[node.subquery.column_list[0].column_id]
        if kind == "IN":
            return Value(transformed([self.value(node.in_expr), value])).beside(rows)
        if kind == "ARRAY":
            return Value(transformed([value]), element=value).beside(rows)
        return value.beside(rows)
