"""What is treated, whom it befalls, for how long, and with what. Pure data.

Codes are ICD-10-CM for diagnoses and CPT for procedures.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Why people are admitted.

    ``weight``: how often, relative to the others. ``ages``: youngest and oldest. ``stay``: median days.
    ``emergency``: share of emergency admissions. ``sex``: whom it can befall; empty: everybody. ``again``: the reason
    of the next admission, where it cannot be the same (an appendix is removed once); empty: the same.
    """

    code: str
    weight: float
    ages: tuple[int, int]
    stay: float
    emergency: float
    procedures: tuple[str, ...]
    medications: tuple[str, ...]
    sex: str = ""
    again: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """A lasting condition. ``at_40`` and ``at_80``: the share of people of that age who have it; between, linear."""

    code: str
    at_40: float
    at_80: float
    medications: tuple[str, ...]


INFECTION = "T81.40XA"
"""After a procedure: nobody's first reason (weight 0), many an operated patient's second."""

REASONS = (
    Reason(
        "I50.9",
        12,
        (50, 98),
        5.0,
        0.9,
        ("93306", "71046"),
        ("furosemide 40 mg", "lisinopril 10 mg", "carvedilol 12.5 mg"),
    ),
    Reason(
        "J44.1",
        9,
        (45, 95),
        4.2,
        0.95,
        ("94640", "71046"),
        ("prednisone 40 mg", "albuterol inhaler", "tiotropium inhaler"),
    ),
    Reason("J18.9", 10, (18, 98), 4.5, 0.97, ("71046", "87070"), ("ceftriaxone 1 g", "azithromycin 500 mg")),
    Reason("A41.9", 9, (25, 98), 6.8, 0.99, ("87040", "36556"), ("piperacillin-tazobactam 4.5 g", "norepinephrine")),
    Reason(
        "I21.4", 7, (40, 95), 3.8, 0.98, ("93458", "92928"), ("aspirin 81 mg", "ticagrelor 90 mg", "metoprolol 25 mg")
    ),
    Reason("I63.9", 6, (45, 98), 5.5, 0.99, ("70450", "93880"), ("clopidogrel 75 mg", "atorvastatin 80 mg")),
    Reason("N17.9", 6, (40, 98), 4.6, 0.9, ("76770",), ("sodium chloride 0.9%",)),
    Reason("E11.65", 5, (25, 90), 3.1, 0.85, ("82947",), ("insulin glargine", "insulin lispro")),
    Reason(
        "S72.001A",
        5,
        (60, 99),
        5.9,
        1.0,
        ("27236", "73502"),
        ("enoxaparin 40 mg", "oxycodone 5 mg", "calcium-vitamin D"),
        again=INFECTION,
    ),
    Reason(
        "K80.00", 5, (22, 85), 2.8, 0.7, ("47562", "76705"), ("ketorolac 15 mg", "ondansetron 4 mg"), again=INFECTION
    ),
    Reason(
        "K35.80", 4, (18, 60), 1.9, 1.0, ("44970", "74177"), ("cefoxitin 2 g", "acetaminophen 1 g"), again=INFECTION
    ),
    Reason("M17.11", 6, (50, 88), 2.3, 0.0, ("27447",), ("apixaban 2.5 mg", "celecoxib 200 mg"), again=INFECTION),
    Reason("C34.90", 3, (48, 88), 6.2, 0.4, ("71260", "96413"), ("carboplatin", "pemetrexed", "dexamethasone 4 mg")),
    Reason(
        "J45.901",
        3,
        (18, 55),
        2.4,
        0.97,
        ("94640",),
        ("prednisone 40 mg", "albuterol inhaler", "budesonide-formoterol"),
    ),
    Reason("O80", 8, (18, 44), 1.9, 0.3, ("59409",), ("oxytocin", "ibuprofen 600 mg"), sex="female"),
    Reason("N40.1", 3, (55, 88), 1.7, 0.05, ("52601",), ("tamsulosin 0.4 mg",), sex="male", again=INFECTION),
    Reason(INFECTION, 0, (18, 99), 4.8, 1.0, ("87070",), ("vancomycin 1 g", "cefepime 2 g"), again="A41.9"),
)

CONDITIONS = (
    Condition("I10", 0.18, 0.70, ("amlodipine 5 mg",)),
    Condition("E78.5", 0.15, 0.50, ("atorvastatin 40 mg",)),
    Condition("E11.9", 0.07, 0.25, ("metformin 1000 mg",)),
    Condition("I25.10", 0.02, 0.32, ("aspirin 81 mg", "metoprolol 50 mg")),
    Condition("I48.91", 0.005, 0.18, ("apixaban 5 mg",)),
    Condition("J44.9", 0.02, 0.16, ("tiotropium inhaler",)),
    Condition("N18.30", 0.01, 0.28, ()),
    Condition("I50.22", 0.003, 0.13, ("furosemide 20 mg", "sacubitril-valsartan 24/26 mg")),
    Condition("F03.90", 0.0, 0.14, ("donepezil 10 mg",)),
    Condition("F32.9", 0.10, 0.09, ("sertraline 50 mg",)),
    Condition("E66.9", 0.20, 0.12, ()),
    Condition("F17.210", 0.16, 0.06, ()),
)
