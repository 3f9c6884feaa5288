"""Training by the hand-derived backward passes: every piece is one small module with its mathematics beside the lines.

`loss`, `optimisers`, `schedule` and `augment` are the mathematics; `data` and `images` what is learnt from; `loop` puts them together;
`settings` and `checkpoint` make a run repeatable and resumable, bit for bit; `predict` and `explain` use what was learnt.
"""
