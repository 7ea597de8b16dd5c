"""What LlamaIndex and OpenAI's client import only when they are used, imported once.

pytest forgets what is imported in a run in this process, so that every run would import it anew.
"""

from __future__ import annotations

from contextlib import suppress

import openai

with openai.OpenAI(api_key="none") as client:
    assert client.embeddings
    assert client.chat.completions
    assert client.responses
with suppress(ImportError):  # not everybody has LangChain, which LlamaIndex looks for
    import llama_index.core.bridge.langchain

    assert llama_index
