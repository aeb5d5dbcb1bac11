"""Which Dagster runs to start, and when.

`planning` holds the rules, as pure functions; `history` and `staleness` ask Dagster's instance, `plans` brings both together with
the gateway, and `in_process` executes a plan without a daemon. What a run does belongs to `assets`; Dagster's sensors are in the
package `sensors`.
"""
