"""Programs such as small coder models write for word problems, with their values.

``UNSUPPORTED`` holds those that the sandbox's Python does not know: each must end as an error that
says what is missing.
"""

from __future__ import annotations

SUPPORTED: dict[str, tuple[str, object]] = {
    "a function with steps": (
        """
def solution():
    # Natalia sold 48 clips in April and half as many in May
    april = 48
    may = april / 2
    total = april + may
    return total
""",
        72.0,
    ),
    "a docstring and type hints": (
        '''
def solution() -> int:
    """A baker makes 12 trays of 15 rolls and sells 130. How many are left?"""
    trays: int = 12
    rolls_per_tray: int = 15
    left: int = trays * rolls_per_tray - 130
    return left
''',
        50,
    ),
    "hints of typing": (
        """
from typing import Dict, List, Optional

def total_cost(prices: Dict[str, float], bought: List[str]) -> Optional[float]:
    return sum(prices[item] for item in bought)

def solution():
    return total_cost({"pen": 1.5, "book": 8.25}, ["pen", "pen", "book"])
""",
        11.25,
    ),
    "a printed result": (
        """
eggs_per_day = 16
eaten = 3 + 4
income = (eggs_per_day - eaten) * 2
print(income)
""",
        "18",
    ),
    "a printed sentence": (
        """
speed = 60
hours = 2.5
distance = speed * hours
print(f"The train travels {distance:.1f} km.")
""",
        "The train travels 150.0 km.",
    ),
    "a variable named answer": (
        """
price = 80
discount = price * 15 / 100
answer = price - discount
print("The final price is", answer)
""",
        68.0,
    ),
    "a last expression": ("a = 7\nb = 6\na * b\n", 42),
    "a main guard": (
        """
def solution():
    return sum(range(1, 11))

if __name__ == "__main__":
    print(solution())
""",
        55,
    ),
    "a main function": (
        """
def main():
    pages = 320
    per_day = 40
    print(pages // per_day)

if __name__ == "__main__":
    main()
""",
        "8",
    ),
    "arguments with defaults": (
        """
def solution(miles=120, mpg=30, price=3.5):
    gallons = miles / mpg
    return round(gallons * price, 2)
""",
        14.0,
    ),
    "a function that needs arguments": (
        """
def solution(n, k):
    return n * k - n

print(solution(12, 5))
""",
        "48",
    ),
    "import math": (
        """
import math

def solution():
    buses = math.ceil(125 / 40)
    return buses
""",
        4,
    ),
    "from math import": (
        """
from math import sqrt, pi, gcd, comb, floor

def solution():
    return floor(sqrt(2) * 100) + gcd(12, 18) + comb(5, 2) + round(pi, 2)
""",
        160.14,
    ),
    "a for loop with a range": (
        """
def solution():
    savings = 0
    for month in range(1, 13):
        savings += 10 * month
    return savings
""",
        780,
    ),
    "a while loop": (
        """
def solution():
    population, years = 1000, 0
    while population < 2000:
        population *= 1.1
        years += 1
    return years
""",
        8,
    ),
    "break, continue and else": (
        """
def solution():
    for n in range(2, 100):
        if n % 2 == 0:
            continue
        if n % 7 == 0 and n % 5 == 0:
            break
    else:
        return -1
    return n
""",
        35,
    ),
    "list comprehension": (
        """
def solution():
    ages = [12, 15, 11, 18]
    return sum([age for age in ages if age >= 12]) / len([a for a in ages if a >= 12])
""",
        15.0,
    ),
    "dict comprehension and items": (
        """
def solution():
    stock = {"apples": 30, "pears": 12, "plums": 45}
    sold = {name: count // 3 for name, count in stock.items()}
    return sum(stock[name] - sold[name] for name in stock)
""",
        58,
    ),
    "sets and tuples": (
        """
def solution():
    a = {1, 2, 3, 4}
    b = {3, 4, 5}
    first, *rest = sorted(a | b)
    return (len(a & b), first, rest)
""",
        [2, 1, [2, 3, 4, 5]],
    ),
    "nested functions": (
        """
def solution():
    def fee(amount):
        return amount * 0.05 if amount > 100 else 2
    return fee(80) + fee(200)
""",
        12.0,
    ),
    "recursion": (
        """
def factorial(n):
    if n == 0:
        return 1
    return n * factorial(n - 1)

def solution():
    return factorial(10) // factorial(8)
""",
        90,
    ),
    "lambda, map, filter, sorted": (
        """
def solution():
    numbers = [5, 2, 9, 1]
    doubled = list(map(lambda x: x * 2, filter(lambda x: x > 1, numbers)))
    return sorted(doubled, key=lambda x: -x)[0]
""",
        18,
    ),
    "zip and enumerate": (
        """
def solution():
    prices = [4, 7, 2]
    counts = [3, 1, 6]
    total = 0
    for i, (price, count) in enumerate(zip(prices, counts)):
        total += price * count * (i + 1)
    return total
""",
        62,
    ),
    "min, max, any, all, abs, divmod": (
        """
def solution():
    scores = [71, 88, 93]
    assert all(s > 50 for s in scores) and any(s > 90 for s in scores)
    q, r = divmod(max(scores) - min(scores), 4)
    return abs(-q) + r
""",
        7,
    ),
    "rounding and formats": (
        """
def solution():
    rate = 0.0725
    return f"{1234.5 * rate:,.2f} ({rate:.2%}) {7:03d} {'x':>3}"
""",
        "89.50 (7.25%) 007   x",
    ),
    "percent and str.format": (
        """
total = 41.5
print("Total: $%.2f, {}".format("each %d" % 3) % total)
""",
        "Total: $41.50, each 3",
    ),
    "string methods": (
        """
def solution():
    text = "3 red, 4 blue, 5 green"
    return sum(int(part.strip().split(" ")[0]) for part in text.split(","))
""",
        12,
    ),
    "a dataclass": (
        """
from dataclasses import dataclass

@dataclass
class Item:
    name: str
    price: float
    count: int = 1

def solution():
    items = [Item("mug", 4.5, 2), Item("tray", 12.0)]
    return sum(item.price * item.count for item in items)
""",
        21.0,
    ),
    "a class with methods": (
        """
class Account:
    def __init__(self, balance):
        self.balance = balance

    def deposit(self, amount):
        self.balance += amount
        return self

def solution():
    return Account(100).deposit(50).deposit(25).balance
""",
        175,
    ),
    "try and except": (
        """
def solution():
    try:
        share = 10 / 0
    except ZeroDivisionError:
        share = 0
    finally:
        extra = 5
    return share + extra
""",
        5,
    ),
    "decimals": (
        """
from decimal import Decimal

def solution():
    return Decimal("0.10") + Decimal("0.20")
""",
        "0.30",
    ),
    "dates": (
        """
from datetime import date, timedelta

def solution():
    return (date(2024, 3, 1) - date(2024, 2, 1) + timedelta(days=1)).days
""",
        30,
    ),
    "itertools and collections": (
        """
from collections import Counter, defaultdict
from itertools import combinations

def solution():
    groups = defaultdict(list)
    for word in ["ant", "bee", "ape"]:
        groups[word[0]].append(word)
    pairs = list(combinations(groups["a"], 2))
    return Counter("banana")["a"] + len(pairs)
""",
        4,
    ),
    "integers beyond 64 bits": ("def solution():\n    return 2 ** 100 % 10**9\n", 703205376),
    "sum of a generator": (
        "def solution():\n    return sum(x * x for x in range(1, 101) if x % 3 == 0)\n",
        112761,
    ),
    "a global counter": (
        """
count = 0

def step():
    global count
    count += 2

for _ in range(6):
    step()
count
""",
        12,
    ),
    "a brute-force search": (
        """
def solution():
    for x in range(0, 100):
        for y in range(0, 100):
            if x + y == 35 and 2 * x + 4 * y == 94:
                return {"chickens": x, "rabbits": y}
""",
        {"chickens": 23, "rabbits": 12},
    ),
}

UNSUPPORTED: dict[str, tuple[str, str]] = {
    "fractions": (
        """
from fractions import Fraction

def solution():
    return Fraction(1, 3) + Fraction(1, 6)
""",
        "fractions",
    ),
    "sympy": (
        """
from sympy import symbols, Eq, solve

def solution():
    x = symbols("x")
    return solve(Eq(2 * x + 3, 11), x)[0]
""",
        "sympy",
    ),
    "numpy": ("import numpy as np\nprint(np.mean([1, 2, 3]))\n", "numpy"),
    "statistics": ("import statistics\nprint(statistics.mean([1, 2, 3]))\n", "statistics"),
    "a question to the user": ("n = int(input('How many? '))\nprint(n * 2)\n", "input"),
    "a generator function": (
        """
def multiples(n):
    value = n
    while True:
        yield value
        value += n

def solution():
    for value in multiples(7):
        if value % 5 == 0:
            return value
""",
        "yield",
    ),
    "inheritance": (
        """
class Shape:
    def area(self):
        return 0

class Square(Shape):
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side ** 2

print(Square(3).area())
""",
        "inheritance",
    ),
    "next of a generator": (
        "def solution():\n    return next(n for n in range(1, 99) if n % 12 == 0)\n",
        "iterator",
    ),
}
