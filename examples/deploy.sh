#!/usr/bin/env bash
# From a float model to a Core ML package, an AMD xmodel, and ONNX with integer operators, each proven.
# usage: deploy.sh MODEL.onnx CALIB.npz      (the package needs the extra coreml)
set -euo pipefail
model=$1 calib=$2

for pair in coreml:coreml dpu:xmodel ort:qoperator; do
    target=${pair%:*} format=${pair#*:}
    oq quantize "$model" -t "$target" -d "$calib" --refine none -o "deployed.$target.onnx" > /dev/null
    oq deploy "deployed.$target.onnx" --to "$format" -d "$calib"
done
