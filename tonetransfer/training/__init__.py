"""Everything that learns a timbre model: from a corpus (:mod:`~tonetransfer.training.pretraining`, to be opened first), from recordings of
one instrument (:mod:`~tonetransfer.training.finetuning`), or from a few seconds (:mod:`~tonetransfer.training.reconstruction`)."""
