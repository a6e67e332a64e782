"""Training: a loop that goes on after an interrupt with the same result, schedules, augmentation on the device, trials.

No module but `augment` and `crops` loads torch before something is trained.
"""
