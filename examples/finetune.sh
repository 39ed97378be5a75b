#!/usr/bin/env bash
# Quantize for AMD's DPU, then train the file against the float model on the same samples: no labels,
# no loop.  A killed run goes on where it was when it is started again.
# usage: finetune.sh MODEL.onnx CALIB.npz EVAL.npz [EPOCHS]
set -euo pipefail
model=$1 calib=$2 eval=$3 epochs=${4:-40}

oq finetune "$model" -t dpu -d "$calib" --epochs "$epochs" -o finetuned.onnx
oq verify "$model" finetuned.onnx -d "$eval"
