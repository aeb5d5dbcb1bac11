"""A collector's files for the second domain: the equipment registry, with a few rows that must be rejected, and a day's sessions."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Final

from gaelp_assets.record.values import Row, timestamp

_GOOD: Final = (
    ("VIN", "1M8GDM9AXKP042788", "commercial_truck", "Motor Coach Industries", "102A3", 1989),
    ("VIN", "1FTFW1ET5DFC10312", "passenger_vehicle", "Ford", "F-150", 2013),
    ("VIN", "JH2RC4467WM100245", "motorcycle", "Honda", "VT1100", 1998),
    ("HIN", "ABC12345D404", "boat", "Example Marine", "Harbour 24", 2004),
    ("Registration", "N172SP", "aircraft", "Cessna", "172S", 2005),
    ("Serial", "CAT0320DJKZF00231", "construction", "Caterpillar", "320D", 2011),
    ("Serial", "1RW8245RTAP021307", "agricultural", "John Deere", "8245R", 2010),
    ("ESN", "35290611487", "generator", "Cummins", "QSK23", 2016),
    ("AssetTag", "HOSP-RAD-00417", "medical", "Siemens Healthineers", "MAGNETOM Vida", 2019),
    ("MAC", "00:1B:44:11:3A:B7", "industrial", "Siemens", "SIMATIC S7-1500", 2018),
    ("UUID", "9f1c2a34-5b6d-4e7f-8a90-b1c2d3e4f506", "industrial", "Fanuc", "M-20iD", 2021),
    ("IMEI", "490154203237518", "medical", "Philips", "IntelliVue MX40", 2017),
)
# In order: the letter O and sixteen characters; a wrong check digit; an unknown category; an unknown kind of identifier.
_BAD: Final = (
    ("VIN", "1FTFW1ET5DFC1O31", "passenger_vehicle", "Ford", "F-150", 2013),
    ("IMEI", "490154203237519", "medical", "Philips", "IntelliVue MX40", 2017),
    ("Registration", "G-BOAC", "spaceship", "Aerospatiale", "Concorde", 1976),
    ("Barcode", "4006381333931", "industrial", "Bosch Rexroth", "ctrlX DRIVE", 2022),
)


def registry_rows(date: dt.date) -> list[Row]:
    """Twelve good rows and five bad ones of `diagnostics.universal_equipment_registry`; the last lacks its model."""
    recorded_at = timestamp(dt.datetime.combine(date, dt.time(5), dt.UTC))
    rows = [
        {
            "primary_id_type": id_type,
            "primary_id_value": value,
            "equipment_category": category,
            "manufacturer": manufacturer,
            "model": model,
            "model_year": year,
            "source": "demo-collector",
            "recorded_at": recorded_at,
        }
        for id_type, value, category, manufacturer, model, year in (*_GOOD, *_BAD)
    ]
    nameless = {**rows[0], "primary_id_type": "AssetTag", "primary_id_value": "HOSP-RAD-00418"}
    del nameless["model"]
    return [*rows, nameless]


_CODES: Final = {
    "passenger_vehicle": ("P0420", "P0171", "U0100"),
    "commercial_truck": ("3216-4", "110-0"),
    "motorcycle": ("P0335",),
    "construction": ("168-18", "110-16"),
    "generator": ("190-0",),
}
_PROTOCOLS: Final = {
    "passenger_vehicle": "OBD-II",
    "motorcycle": "OBD-II",
    "boat": "NMEA 2000",
    "medical": "DICOM",
}


def session_rows(date: dt.date) -> list[Row]:
    """A day's rows of `diagnostics.diagnostic_sessions`: each good piece of equipment on most days, some without codes."""
    rows: list[Row] = []
    for number, (id_type, value, category, *_) in enumerate(_GOOD):
        for turn in range((date.toordinal() + number) % 3):
            started = dt.datetime.combine(date, dt.time(7 + turn, 5 * number % 60), dt.UTC)
            known = _CODES.get(category, ())
            codes = known[: (date.toordinal() + turn) % (len(known) + 1)]
            user = hashlib.sha256(f"demo user {(number + turn) % 4}".encode()).hexdigest()
            rows.append(
                {
                    "session_id": f"session-{date:%Y%m%d}-{number}-{turn}",
                    "date": date.isoformat(),
                    "user_pseudonym": user,
                    "primary_id_type": id_type,
                    "primary_id_value": value,
                    "equipment_category": category,
                    "protocol": _PROTOCOLS.get(category, "J1939"),
                    "codes": [{"code": code, "status": "stored"} for code in codes],
                    "started_at": timestamp(started),
                    "ended_at": timestamp(started + dt.timedelta(minutes=4 + number)),
                    "source": "demo-collector",
                }
            )
    return rows
