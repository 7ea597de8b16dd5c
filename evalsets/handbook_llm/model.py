"""The model that answers `handbook_llm`: SmolLM2, asked by the OpenAI client.

Replaying needs neither the model nor a server. To record, start one (see `server.py`), or point
``HANDBOOK_LLM_URL`` at any other that speaks OpenAI's protocol.
"""

from __future__ import annotations

import os

from llama_index.core.base.llms.types import LLMMetadata
from llama_index.llms.openai import OpenAI

MODEL = "smollm2-135m-instruct"
CONTEXT = 2048


class OwnModel(OpenAI):
    """A model that OpenAI does not know, behind its protocol."""

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks of a model."""
        return LLMMetadata(
            context_window=CONTEXT,
            num_output=self.max_tokens or 64,
            is_chat_model=True,
            model_name=self.model,
        )


def build() -> OwnModel:
    """Return the model; greedy, so that a new recording says the same on the same machine."""
    return OwnModel(
        model=MODEL,
        api_base=os.environ.get("HANDBOOK_LLM_URL", "http://127.0.0.1:8089/v1"),
        api_key="none",
        temperature=0.0,
        max_tokens=64,
        timeout=120.0,
    )
