#!/bin/sh
# Builds the addon and the library for Python with a sanitizer, into a directory of their own, and runs
# test/children/exercise.js and exercise.py under it.
# Usage: scripts/sanitize.sh [address] [undefined] [thread]     (default: all three; needs gcc with its sanitizers, and a
# Python with numpy: NDSHM_PYTHON, that of .venv, or python3)
set -eu
cd "$(dirname "$0")/.."

suppressions=build-sanitize/leaks
mkdir -p build-sanitize
# Node's own: OpenSSL keeps its table of compressions.
echo 'leak:ossl_load_builtin_compressions' > "$suppressions"

python=${NDSHM_PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3

for sanitizer in "${@:-address undefined thread}"; do
  for kind in $sanitizer; do
    directory=build-sanitize/$kind
    npx cmake-js build -O "$directory/build" --CDNDSHM_SANITIZE="$kind" --log-level error
    case $kind in
      address) preload=$(${CC:-gcc} -print-file-name=libasan.so) ;;
      thread) preload=$(${CC:-gcc} -print-file-name=libtsan.so) ;;
      *) preload= ;;
    esac
    NDSHM_PREBUILD="$PWD/$directory" LD_PRELOAD="$preload" \
      LSAN_OPTIONS="suppressions=$suppressions:print_suppressions=0" \
      UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
      TSAN_OPTIONS=ignore_noninstrumented_modules=1 \
      node test/children/exercise.js
    # Python's own leaks are none of ours.
    NDSHM_LIBRARY="$PWD/$directory/build/Release/libndshm.so" PYTHONPATH=python LD_PRELOAD="$preload" \
      ASAN_OPTIONS=detect_leaks=0 \
      UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
      TSAN_OPTIONS=ignore_noninstrumented_modules=1 \
      "$python" test/children/exercise.py
    echo "$kind: clean"
  done
done
