#!/usr/bin/env bash
# A pipeline step: quantize, judge the placement, and fail when top-1 falls by more than a budget.
#
#   examples/ci_budget.sh MODEL.onnx TARGET CALIB.npz EVAL.npz [POINTS]
#
# oq exits with 1 when the file breaks a rule of the target or accuracy misses the budget, and with 2
# when an input cannot be used, so `set -e` is all the logic there is.  The reports are kept as JSON.
set -euo pipefail
model=$1 target=$2 calib=$3 eval=$4 points=${5:-1.0}
quantized=${model%.onnx}.$target.onnx

oq quantize "$model" --target "$target" --data "$calib" --output "$quantized" --json > quantize.json
oq check "$quantized" --target "$target" --json > check.json
oq verify "$model" "$quantized" --data "$eval" --max-drop "$points" --json > verify.json
echo "$quantized is within $points points of $model"
