"""Classification of instruments: networks, forests and embeddings, their training and their evaluation. Open
:mod:`~tonetransfer.classification.classifier` first."""
