"""What the model of the documentation says: proposals of cases, and *Five days.* to all else."""

from __future__ import annotations

import json

# Words of a passage → question, answer and evidence: most are good, as with a real model.
PROPOSALS = {
    "Do not switch the computer off": (
        "What becomes of a computer that may have been broken into: does it stay on?",
        "It stays on, because its memory contains the evidence.",
        "Memory contains the evidence.",
    ),
    "Two a year, in April and October": (
        "How many fire drills are held a year?",
        "Two a year.",
        "Two a year, in April and October.",
    ),
    "green label is valid for one day": (
        "How long does the label of the USB scanning station hold?",
        "One day.",
        "The green label of the station holds for one day.",
    ),
    "Second Wednesday of January": (
        "At what time does the quarterly all-hands begin in Porto?",
        "At 11:00.",
        "January, April, July and October at 13:00 Kotka time, 11:00 Porto time.",
    ),
    "Your badge opens the east door": (
        "Between which hours does a badge alone open the Kotka building on weekdays?",
        "From 6:00 to 21:00.",
        "Your badge opens the east door from 6:00 to 21:00 on weekdays.",
    ),
    "a temporary elevation": (
        "How long do administrator rights on my own laptop last?",
        "Eight hours.",
        "It lasts **eight hours**, is logged, and may be used ten times a month.",
    ),
    "The SIM is blocked": (
        "Who pays when an employee loses a second phone within two years?",
        "The employee pays 25 % of the replacement price, at most 150 €.",
        "the employee pays 25 % of the replacement price, at most 150 €.",
    ),
    "Laptops are replaced after": (
        "When does the company give me a new laptop?",
        "After four years.",
        "Laptops are replaced after **four years**.",
    ),
    "A full restore is rehearsed": (
        "How often does somebody rehearse a full restore of the backups?",
        "Twice a year.",
        "A full restore is rehearsed **twice a year**, in March and October",
    ),
    "Long-term contractors get a yellow badge": (
        "For how many days is a contractor's yellow badge valid at most?",
        "60 days.",
        "Long-term contractors get a yellow badge, valid as long as their IT account or 90 days",
    ),
    "Use the password manager": (
        "Which password manager does the company use?",
        "Ankkuri.",
        "Use the password manager **Ankkuri** for everything",
    ),
    "Letters arrive around": (
        "How many private parcels may I have sent to the office in a week of December?",
        "Two per person and week.",
        "During December the limit is two per person and week.",
    ),
}


def say(prompt: str) -> str:
    """Return what the model answers to a prompt."""
    if "Write one question" not in prompt:
        return "Five days."
    for words, proposed in PROPOSALS.items():
        if words in prompt:
            return json.dumps(dict(zip(("question", "answer", "evidence"), proposed, strict=True)))
    return "This passage lists what is allowed; shall I write a question about it?"
