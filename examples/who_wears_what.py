"""Say what each person wears, the largest garment first: python who_wears_what.py street.jpg …"""

import sys

from humanparse import HumanParser
from humanparse.regions import classes_of

parser = HumanParser()
worn = {*classes_of("clothes", parser.labels), *classes_of("accessories", parser.labels)}
for parsing in parser.parse_many(sys.argv[1:]):
    for person in parsing.people:
        parts = sorted(person.parts.values(), key=lambda part: -part.area)
        print(parsing.name, person.id, *(one.label for one in parts if one.class_id in worn))
