# oq with what reads images and draws charts; CPU only.
#   docker build -t oq .
#   docker run --rm -v "$PWD":/work oq quantize model.onnx -t ort -d calib.npz
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir '/src[images,report]' && rm -r /src
WORKDIR /work
ENTRYPOINT ["oq"]
