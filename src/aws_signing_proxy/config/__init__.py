"""The settings: declared once, loaded from flags and environment, each value with its source.

`declaration`  what is said about a setting     `settings`  every setting, declared
`notation`     Go's durations, sizes, booleans  `values`    the target's URL, the closed sets of words
`kinds`        text -> value, by kind           `problems`  what is wrong, all of it at once
`loading`      flags > environment > default    `rules`     what settings demand of each other
`advice`       what is suspicious, not wrong    `option_help`, `reference`  the help and the documentation

Only the composition (`app`, `cli`, `check`, `demo`) reads this package: everything else is given values.
"""
