"""The one module that calls vLLM: a base model and all its adapters behind `generate`.

vLLM is pinned in `pyproject.toml`; what changes between its releases is dealt with here.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lineage.core.config_engine import VllmConfig
from lineage.core.errors import OVERLONG, LineageError
from lineage.core.installed import brought
from lineage.models.chat_template import check, render
from lineage.models.precision import cores, precision
from lineage.models.profile import Profile
from lineage.models.protocol import Completion, Request, ToolCall
from lineage.models.stepped import EngineDied, SteppedEngine
from lineage.models.versions import ModelVersion
from lineage.models.vllm_arguments import BACKEND, HERE, arguments, further
from lineage.models.vllm_extra import parsed


def prepare_environment(config: VllmConfig, cache: Path, profile: Profile) -> None:
    """Make this process ready for vLLM, which it must not have imported yet, nor torch."""
    os.environ.update(environment(config, cache, profile))
    if not profile.on_gpu:
        for library in intel_openmp():
            # As if it were preloaded: what is loaded later finds its functions first.
            ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)


def environment(config: VllmConfig, cache: Path, profile: Profile) -> dict[str, str]:
    """Return the variables of a process that imports vLLM and runs with `profile`."""
    place = str(cache / "vllm")
    settings = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": place,
        "XDG_CACHE_HOME": place,
        "XDG_CONFIG_HOME": place,
        "VLLM_CACHE_ROOT": place,
        "VLLM_CONFIG_ROOT": place,
        "TORCHINDUCTOR_CACHE_DIR": f"{place}/inductor",
        "TRITON_CACHE_DIR": f"{place}/triton",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    if not profile.on_gpu:
        settings["VLLM_CPU_KVCACHE_SPACE"] = str(config.cpu_kv_cache_gib)
        # vLLM would bind one thread to each core but one: on two cores it would use half of them.
        settings["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        settings["OMP_NUM_THREADS"] = str(config.threads or profile.threads(cores()))
        # Only so vLLM computes where it schedules. Of two processes the one that waits for the
        # other spins, and takes a core's time from it; and each imports vLLM when it starts.
        settings["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        if preloaded := [*intel_openmp(), *filter(None, [os.environ.get("LD_PRELOAD")])]:
            settings["LD_PRELOAD"] = ":".join(dict.fromkeys(preloaded))
    return settings


def intel_openmp() -> list[str]:
    """Return the library of Intel's OpenMP, which vLLM for processors needs; none where it is not.

    Preloaded it makes vLLM faster than torch's own, as vLLM's notes on processors say.
    """
    found = brought("intel-openmp", "libiomp5.so")
    return [str(found)] if found else []


class VllmEngine:
    """An asynchronous vLLM engine in this process, serving `versions` of one checkpoint.

    Their adapters are folders on this machine. `adaptable`: more may come while it runs.
    """

    def __init__(
        self,
        checkpoint: str,
        versions: Mapping[str, ModelVersion],
        config: VllmConfig,
        profile: Profile,
        adaptable: bool = False,
    ) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.async_llm import AsyncLLM
        from vllm.v1.engine.llm_engine import LLMEngine

        self.dtype = precision(config.dtype, profile.on_gpu)
        folders = {name: one.adapter for name, one in versions.items() if one.adapter}
        told = arguments(checkpoint, versions, config, profile, self.dtype, adaptable)
        told |= parsed(further(config))
        self.versions = dict(versions)
        self.adapters = {
            name: LoRARequest(name, number, folder)
            for number, (name, folder) in enumerate(folders.items(), start=1)
        }
        made = AsyncEngineArgs(**told)
        if told.get(BACKEND) == HERE:
            self.engine: Any = SteppedEngine(partial(LLMEngine.from_engine_args, made))
        else:
            self.engine = AsyncLLM.from_engine_args(made)
        self.tokenizer = self.engine.get_tokenizer()
        check(self.tokenizer)

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Serve one more version from now on: an adapter, loaded under a number of its own."""
        from vllm.lora.request import LoRARequest

        self.versions[name] = replace(self.versions[base], adapter=str(folder))
        if name not in self.adapters:
            adapter = LoRARequest(name, len(self.adapters) + 1, str(folder))
            self.adapters[name] = adapter  # first: its number is taken while it loads
            # Else the first request would load it, and wait for that.
            await self.engine.add_lora(adapter)

    async def generate(self, request: Request) -> Completion:
        """Return the completion; a prompt that does not fit, or render, comes back as an error.

        Raises EngineDied where the engine is gone.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        began = time.monotonic()
        try:
            prompt = render(self.tokenizer, request.turns, ask=True, tools=request.tools)
        except LineageError as error:
            return Completion(error=str(error))
        ids = self.tokenizer.encode(prompt, add_special_tokens=False)
        window = self.versions[request.version].context_window
        if len(ids) + request.max_tokens > window:
            return Completion(
                prompt=prompt,
                finish_reason=OVERLONG,
                prompt_tokens=len(ids),
                error=f"over-long prompt: {len(ids)} + {request.max_tokens} tokens in a "
                f"context window of {window}",
            )
        sampling = sampling_of(request)
        last = None
        try:
            async for output in self.engine.generate(
                # The salt keeps versions apart in the prefix cache, whatever their paths.
                {"prompt_token_ids": ids, "cache_salt": request.version},
                sampling,
                request.id,
                lora_request=self.adapters.get(request.version),
            ):
                last = output
        except EngineDeadError as error:
            raise EngineDied(str(error)) from error
        if last is None:
            return Completion(prompt=prompt, error="the engine returned nothing")
        answer = last.outputs[0]
        return Completion(
            text=answer.text,
            prompt=prompt,
            calls=self._calls(request, answer.text),
            finish_reason=str(answer.finish_reason or ""),
            prompt_tokens=len(ids),
            completion_tokens=len(answer.token_ids),
            cached_tokens=last.num_cached_tokens or 0,
            engine_seconds=time.monotonic() - began,
            tokens=tuple(answer.token_ids) if request.logprobs else (),
            logprobs=_sampled(answer) if request.logprobs else (),
        )

    def tokenizer_json(self) -> str:
        """Return the tokenizer in the form that the `tokenizers` library reads."""
        text: str = self.tokenizer.backend_tokenizer.to_str()
        return text

    def process_ids(self) -> list[int]:
        """Return the ids of the engine's own processes."""
        import psutil

        return [child.pid for child in psutil.Process().children(recursive=True)]

    async def close(self) -> None:
        """Stop the engine's processes."""
        self.engine.shutdown()

    def _calls(self, request: Request, text: str) -> tuple[ToolCall, ...]:
        """Return the tool calls in `text`; what is no whole call is an answer like any other."""
        name = self.versions[request.version].tool_parser
        if not request.tools or not name:
            return ()
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.tool_parsers import ToolParserManager

        asked = ChatCompletionRequest(messages=[], tools=list(request.tools))
        parser = ToolParserManager.get_tool_parser(name)(self.tokenizer)
        found = parser.extract_tool_calls(text, asked).tool_calls
        calls = []
        for call in found:
            with suppress(json.JSONDecodeError):
                arguments = json.loads(call.function.arguments)
                if isinstance(arguments, dict):
                    calls.append(ToolCall(call.function.name, arguments))
        return tuple(calls)


def sampling_of(request: Request) -> Any:
    """Return vLLM's `SamplingParams` of `request`: the one way in which lineage samples."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    structure = None
    if request.schema is not None:
        structure = StructuredOutputsParams(json=request.schema)
    elif request.choices:
        structure = StructuredOutputsParams(choice=list(request.choices))
    return SamplingParams(
        temperature=request.temperature,
        seed=request.seed if request.temperature > 0 else None,
        max_tokens=request.max_tokens,
        stop=list(request.stop),
        structured_outputs=structure,
        # The sampled tokens' own, without any alternative.
        logprobs=0 if request.logprobs else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _sampled(answer: Any) -> tuple[float, ...]:
    """Return the log-probability of each token that was sampled."""
    return tuple(
        float(found[token].logprob)
        for token, found in zip(answer.token_ids, answer.logprobs, strict=True)
    )
