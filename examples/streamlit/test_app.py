"""Tests of the app with Streamlit's AppTest. TestApp runs against the node at DDB_URL, which streamlit_test.go starts."""

import os
import unittest
from unittest import mock

import pandas as pd
from streamlit.testing.v1 import AppTest

from ddb_api import Client, to_frame

MARIADB = os.environ.get("DDB_TEST_DIALECT") == "mysql"


def frame(rows, *types):
    columns = [{"name": f"c{i}", "type": kind} for i, kind in enumerate(types)]
    return to_frame({"columns": columns, "rows": rows})


class TestFrame(unittest.TestCase):
    """Values stay as they are in the database."""

    # A float column for integers with a NULL, pandas' default, would lose digits.
    def test_integers(self):
        got = frame([[2**53, 2**53 + 1], [None, None]], "INTEGER", "INTEGER")
        self.assertEqual([2**53, pd.NA], list(got["c0"]))
        self.assertEqual(["9007199254740993", None], list(got["c1"]))

    # A column of SQLite may hold values of any kind.
    def test_mixed(self):
        got = frame([[1], ["one"], [1.5], [None], [{"base64": "AP8="}]], "INTEGER")
        self.assertEqual(["1", "one", "1.5", None, "0x00ff"], list(got["c0"]))

    # Bytes are hexadecimal; an empty value is no NULL; text among bytes stays text.
    def test_bytes(self):
        got = frame([["AP8="], [""], [None], [{"text": "AP8="}]], "BLOB")
        self.assertEqual(["0x00ff", "0x", None, "AP8="], list(got["c0"]))

    # A long value is cut, and says so.
    def test_long_bytes(self):
        got = frame([["AAAA" * 1000]], "LONGBLOB")
        self.assertEqual("0x" + "00" * 64 + "… (3,000 bytes)", got["c0"][0])

    # What JSON calls a float stays one, and what it cannot say stays text.
    def test_floats(self):
        got = frame([[0.1, "Infinity"], [None, -0.0]], "DOUBLE", "DOUBLE")
        self.assertEqual([0.1, pd.NA], list(got["c0"]))
        self.assertEqual(["Infinity", "-0.0"], list(got["c1"]))

    # Two columns of one name are two columns.
    def test_names(self):
        column = {"name": "a", "type": "INTEGER"}
        got = to_frame({"columns": [column, column, {"name": "a (2)", "type": "INTEGER"}], "rows": [[1, 2, 3]]})
        self.assertEqual(["a", "a (2)", "a (2) (2)"], list(got.columns))

    # No rows still have columns.
    def test_empty(self):
        self.assertEqual(["c0"], list(frame([], "TEXT").columns))


@unittest.skipUnless(os.environ.get("DDB_URL"), "DDB_URL is not set: run go test, which starts a master")
class TestApp(unittest.TestCase):
    def setUp(self):
        self.client = Client()
        self.client.sql("DROP TABLE IF EXISTS big")
        self.client.sql("CREATE TABLE big (id BIGINT PRIMARY KEY, amount DECIMAL(40,18), note VARCHAR(200))")

    def open(self):
        app = AppTest.from_file("app.py", default_timeout=60).run()
        self.assertFalse(app.exception, app.exception)
        return app

    def run_sql(self, app, text):
        app.text_area[0].set_value(text)
        next(b for b in app.button if b.label == "Run").click()
        app.run()
        self.assertFalse(app.exception, app.exception)
        return app

    def show(self, app, screen):
        app.session_state["screen"] = screen
        app.run()
        self.assertFalse(app.exception, app.exception)
        return next(t for t in app.tabs if t.label == screen)

    def answer(self, app):
        return app.tabs[0].dataframe[0].value

    # 64-bit integers, decimals and NULL arrive with every digit.
    def test_exact_values(self):
        numbers = "9223372036854775807 AS big, -9223372036854775808 AS small, 9007199254740993 AS odd, NULL AS missing"
        want = ["9223372036854775807", "-9223372036854775808", "9007199254740993", None]
        if MARIADB:
            numbers += ", 18446744073709551615 AS huge, CAST('1234567890123456789012.500000000000000000' AS DECIMAL(40,18)) AS money"
            want += ["18446744073709551615", "1234567890123456789012.500000000000000000"]
        app = self.run_sql(self.open(), "SELECT " + numbers)
        self.assertFalse(app.error)
        self.assertEqual(want, [None if pd.isna(v) else v for v in self.answer(app).iloc[0]])

    # A write is made and seen by the read after it, in one text and in two.
    def test_write_and_read(self):
        app = self.run_sql(self.open(), "INSERT INTO big (id, note) VALUES (1, 'one'); SELECT note FROM big")
        self.assertIn("1 rows changed", app.success[0].value)
        self.assertEqual(["one"], list(self.answer(app)["note"]))
        app = self.run_sql(app, "UPDATE big SET note = 'two'")
        app = self.run_sql(app, "SELECT note FROM big")
        self.assertEqual(["two"], list(self.answer(app)["note"]))

    # The database's error is shown in its words, with what the statements before it gave.
    def test_error(self):
        app = self.run_sql(self.open(), "SELECT 5 AS five; SELECT price FROM nowhere")
        self.assertEqual(5, self.answer(app)["five"][0])
        self.assertEqual("The node refused this.", app.error[0].value)
        self.assertIn("nowhere", app.code[0].value)
        app = self.run_sql(app, "SELECT 1 AS one")
        self.assertFalse(app.error)

    # A table is browsed page by page, in the order of its key.
    def test_tables(self):
        values = ",".join(f"({n}, {n}.5, 'row {n}')" for n in range(2**60, 2**60 + 150))
        self.client.sql(f"INSERT INTO big VALUES {values}")
        app = self.open()
        screen = self.show(app, "Tables")
        table = next(t for t in screen.selectbox[0].options if t.endswith("big"))
        screen.selectbox[0].select(table).run()
        first = app.tabs[1].dataframe[0].value
        self.assertEqual((100, str(2**60), "row %d" % (2**60 + 99)), (len(first), first["id"][0], first["note"][99]))
        app.tabs[1].number_input[0].set_value(2).run()
        second = app.tabs[1].dataframe[0].value
        self.assertEqual((50, str(2**60 + 100)), (len(second), second["id"][0]))
        self.client.sql(f"DELETE FROM big WHERE id > {2**60 + 9}")
        app.run()
        self.assertFalse(app.exception, app.exception)
        self.assertEqual((10, 1), (len(app.tabs[1].dataframe[0].value), app.tabs[1].number_input[0].value))

    # The nodes are listed with their state, and the replica's lag is drawn.
    def test_cluster(self):
        screen = self.show(self.open(), "Cluster")
        nodes = screen.dataframe[0].value.set_index("node")
        self.assertEqual(["master", "replica"], list(nodes["role"][["master", "r1"]]))
        self.assertEqual("active", nodes["state"]["r1"])
        self.assertEqual("2 of 2", screen.metric[0].value)
        self.assertEqual(str(self.client.status()["lsn"]), screen.metric[1].value)
        self.assertTrue(screen.get("arrow_vega_lite_chart") or screen.get("vega_lite_chart"), "no chart")

    # The export is made and offered.
    def test_export(self):
        self.client.sql("INSERT INTO big (id, note) VALUES (42, 'taken home')")
        app = self.open()
        next(b for b in app.button if b.label.startswith("Make")).click().run()
        self.assertFalse(app.error, [c.value for c in app.code])
        data = app.session_state["export"].decode()
        self.assertIn("CREATE TABLE", data)
        self.assertIn("taken home", data)
        self.assertIn(f"{len(data.encode()):,} bytes", app.get("download_button")[0].label)

    # A wrong token is told with the way out, and shows no data.
    def test_wrong_token(self):
        for screen in "Tables", "Cluster":
            self.check_error(screen, "Set DDB_TOKEN", DDB_TOKEN="wrong")

    # So is a node that is not there.
    def test_nobody_there(self):
        for screen in "Tables", "Cluster":
            self.check_error(screen, "Nobody answers at http://127.0.0.1:1.", DDB_URL="http://127.0.0.1:1")

    # Nor is an address that is none a reason for a stack trace.
    def test_bad_address(self):
        self.check_error("Tables", "DDB_URL is not an address", DDB_URL="localhost:8080")

    def check_error(self, screen, text, **environment):
        with mock.patch.dict(os.environ, environment):
            tab = self.show(AppTest.from_file("app.py", default_timeout=60).run(), screen)
        self.assertEqual(1, len(tab.error), screen)
        self.assertIn(text, tab.error[0].value)
        self.assertFalse(tab.dataframe)


if __name__ == "__main__":
    unittest.main(verbosity=2)
