"""The peer of `benchmarks.streaming`: bodies of JSON lines inserted into a DuckDB table as they come, and nothing else."""

from __future__ import annotations

import socket
import tempfile
import threading
from pathlib import Path

import duckdb
import uvicorn
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool


def main() -> None:
    """Serves until it is told to stop."""
    with tempfile.TemporaryDirectory() as folder:
        con = duckdb.connect(str(Path(folder) / "peer.duckdb"))
        con.execute(
            "CREATE TABLE metrics (training_run_id VARCHAR, name VARCHAR, date DATE, environment_id VARCHAR, agent_id VARCHAR, "
            "measured_at TIMESTAMPTZ, global_step BIGINT, value DOUBLE)"
        )
        lock = threading.Lock()
        app = FastAPI()

        def insert(content: bytes) -> int:
            with tempfile.NamedTemporaryFile(dir=folder, suffix=".ndjson") as file, lock:
                file.write(content)
                file.flush()
                row = con.execute(
                    "INSERT INTO metrics BY NAME SELECT * FROM read_json(?)", [file.name]
                ).fetchone()
            return int(row[0]) if row else 0

        @app.post("/v1/rows/training/metrics")
        async def rows(request: Request) -> dict[str, int]:
            return {"loaded": await run_in_threadpool(insert, await request.body())}

        listening = socket.create_server(("127.0.0.1", 0))
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
