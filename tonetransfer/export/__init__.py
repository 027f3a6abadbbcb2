"""Instruments as TorchScript and ONNX, for other programs. Open :mod:`~tonetransfer.export.export` first."""
