"""Steps of Dagster, each with one asset or with the checks of one, put together from their parts.

They are what `multi_asset` and `multi_asset_check` make of the same parts. These ask each function some fifteen times for its signature,
and read a `Config` class again for each asset: more than half of the time in which the definitions of 1,000 relations load.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import dagster as dg

from gaelp_assets.assets.openlineage import told
from resources.platform import PlatformResource

Results: TypeAlias = Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]
ComputeAsset: TypeAlias = Callable[[dg.AssetExecutionContext, PlatformResource], Results]
ComputeChecks: TypeAlias = Callable[
    [dg.AssetCheckExecutionContext, PlatformResource], Iterator[dg.AssetCheckResult]
]

_PLATFORM: Final = frozenset({"platform"})


def asset_step(
    name: str,
    spec: dg.AssetSpec,
    compute: ComputeAsset,
    *,
    checks: Sequence[dg.AssetCheckSpec] = (),
    config: Mapping[str, dg.Field] | None = None,
) -> dg.AssetsDefinition:
    """A step that materializes one asset, and evaluates checks of it. A range of its partitions is one run.

    Args:
        name: the step's.
        spec: the asset.
        compute: yields the results.
        checks: those of the asset that the step evaluates.
        config: the fields of a run's config, which `compute` finds in `context.op_execution_context.op_config`.
    """

    def run(context: dg.AssetExecutionContext, _: Mapping[str, object]) -> Results:
        platform = context.resources.platform
        yield from told(context, platform, spec.key, compute(context, platform))

    output = spec.key.to_python_identifier()
    checks_by_output = {check.get_python_identifier(): check for check in checks}
    step = dg.OpDefinition(
        run,
        name,
        ins={dep.asset_key.to_python_identifier(): dg.In(dg.Nothing) for dep in spec.deps},
        outs={
            output: dg.Out(
                dg.Nothing,
                description=spec.description,
                metadata=dict(spec.metadata),
                code_version=spec.code_version,
            ),
            **{check: dg.Out(dg.Nothing) for check in checks_by_output},
        },
        config_schema=config,
        required_resource_keys=_PLATFORM,
    )
    return dg.AssetsDefinition(
        node_def=step,
        keys_by_input_name={dep.asset_key.to_python_identifier(): dep.asset_key for dep in spec.deps},
        keys_by_output_name={output: spec.key},
        specs=[spec],
        check_specs_by_output_name=checks_by_output,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )


def check_step(
    name: str, checks: Sequence[dg.AssetCheckSpec], compute: ComputeChecks
) -> dg.AssetChecksDefinition:
    """A step that evaluates checks of one asset, all of them or some.

    Args:
        name: the step's.
        checks: at least one.
        compute: yields the results of those checks that the run has selected.
    """

    def run(context: dg.AssetCheckExecutionContext, _: Mapping[str, object]) -> Iterator[dg.AssetCheckResult]:
        platform = context.resources.platform
        yield from told(context, platform, checks[0].asset_key, compute(context, platform))

    key = checks[0].asset_key
    checks_by_output = {check.get_python_identifier(): check for check in checks}
    step = dg.OpDefinition(
        run,
        name,
        ins={key.to_python_identifier(): dg.In(dg.Nothing)},
        outs={check: dg.Out(dg.Nothing, is_required=False) for check in checks_by_output},
        required_resource_keys=_PLATFORM,
    )
    made: dg.AssetChecksDefinition = dg.AssetChecksDefinition.create(
        node_def=step,
        keys_by_input_name={key.to_python_identifier(): key},
        check_specs_by_output_name=checks_by_output,
        can_subset=True,
    )
    return made
