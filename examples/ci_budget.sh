#!/usr/bin/env bash
# A CI step: quantize, check the Q/DQ placement, and fail if top-1 drops by more than a budget.
#
#   examples/ci_budget.sh MODEL.onnx TARGET CALIB.npz EVAL.npz [POINTS]
#
# oq exits with 1 if the file violates a rule of the target or accuracy misses the budget, and with 2
# for invalid input, so `set -e` is sufficient.  The reports are saved as JSON.
set -euo pipefail
model=$1 target=$2 calib=$3 eval=$4 points=${5:-1.0}
quantized=${model%.onnx}.$target.onnx

oq quantize "$model" --target "$target" --data "$calib" --output "$quantized" --json > quantize.json
oq check "$quantized" --target "$target" --json > check.json
oq verify "$model" "$quantized" --data "$eval" --max-drop "$points" --json > verify.json
echo "$quantized is within $points points of $model"
