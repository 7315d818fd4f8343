package main

import "strings"

func expressions() {
	operators()
	builtins()
	closures()
	syntax()
	times()
	functions()
	sprigs()
	paths()
}

var operands = []string{
	"1", "2.5", `"a"`, "true", "nil", "[1, 2]", `{"a": 1}`, "n", "s", "b", "items", "item", "item.size", "item.name",
	`duration("1m")`, `date("2024-01-02")`, "1..3", `split("a,b", ",")`,
}

func operators() {
	binary := []string{
		"==", "!=", "<", ">", "<=", ">=", "and", "||", "+", "-", "*", "/", "%", "**", "in", "not in", "matches", "contains",
		"startsWith", "endsWith", "..", "??",
	}
	for _, operator := range binary {
		for i, left := range operands {
			for j, right := range operands {
				// A third of the pairs: each operand meets many others on both sides.
				if (i+2*j)%3 == 0 || i == j {
					record(left + " " + operator + " " + right)
				}
			}
		}
	}
	for _, operand := range operands {
		record("-("+operand+")", "not ("+operand+")", "!("+operand+")", "+("+operand+")", "("+operand+") ? 1 : 2",
			"("+operand+")[0]", "("+operand+").a", "("+operand+")?.a", "("+operand+")[1:]", "("+operand+")[0:1]",
			"type("+operand+")", "string("+operand+")", "toJSON("+operand+")", "toJson("+operand+")", "len("+operand+")",
			"sprig.typeOf("+operand+")", "sprig.kindOf("+operand+")", "sprig.empty("+operand+")", "asInt("+operand+")",
			"asFloat("+operand+")", "get("+operand+", 0)", `get(`+operand+`, "a")`, "["+operand+", 1]", "let x = "+operand+"; x")
	}
	record("n % 2", "asInt(n) % 2", "7 % 0", "7 / 0", "-7 % 3", "-7 / 2", "2 ** -1", "0 ** 0", "1/3", "1e300 * 1e300", "-0.0", "0.1 + 0.2",
		"9223372036854775807 + 1", "-9223372036854775807 - 2", "9223372036854775808", "0xff + 0b11 + 0o17", "1_000.5", "1e-7", "1e21",
		"123456789012345678", "5 - 3 - 1", "2 ** 3 ** 2", "-2 ** 2", "not true and false", "1 < 2 < 3", "1 < 2 == true", "1 + 2 in [3]",
		"true || z.x", "false && z.x", "b || item.missing", "item.missing || true", "item.missing && false", "true and item.name",
		"item.missing ?? item.nil ?? 7", "item?.deep?.list[1]?.k", "item.deep.list[1].k", "item.nope?.deep.more", "(item.nope).deep",
		"item.deep.list[-1].k", "item.deep.list[9]", "items[1.5]", "items[\"a\"]", "item[1]", "s[100]", "s[0:100]", "s[-5:]", "s[3:1]",
		"items[-2:]", "items[:-2]", "items[2:2]", "items[5:9]", "e == \"\"", "e ?? \"d\"", "none_ == []", "none_ ?? 1", "[] == nil",
		"[1, 2.0, \"x\"] == [1.0, 2, \"x\"]", "{\"a\": 1} == {\"a\": 1.0}", "{a: {b: [1]}}.a.b[0]", "{\"a\": 1, \"a\": 2}", "{(s): 1}", "{(n): 1}",
		"{1: 2}", "1 in 1..3", "n in 1..10", "2.5 in 1..10", "nil in [nil]", "\"x\" in [\"x\", \"y\"]", "n in [\"x\"]", "item.size in [\"x\"]",
		"item.nope in [\"\"]", "item.name in [\"x\"]", "3..1", "1..1000001", "\"a\" < \"b\"", "\"Z\" < \"a\"", "s =~ \"x\"", "b ?: \"d\"", "e ?: \"d\"", "n ?: 1",
		"sum([s, \"b\"])", "sum([\"a\", \"b\"])", "sum([n, 1])", "sum([1, 2])", "sum([n])", "1; 2", "1;", "let a = 1; let b2 = a + 1; b2", "let n = 1; n", "let len = 1; len",
		"let x = 1; let x = 2; x", "if b { 1 } else { 2 }", "if no { 1 } else if b { 2 } else { 3 }", "if n { 1 } else { 2 }", "if b { 1 }",
		"$env.n", "$env[\"s\"]", "$env.nope", "$env?.nope", "\"n\" in $env", "$env()", "nope", "nope.x", "nope ?? 1", "nope()", "n()", "item.name()", "sprig.nope(1)", "sprig.nope", "z()", "z.x", "z?.x", "z[0]", "z == nil")
}

// arguments that every builtin without closure is called with.
var arguments = []string{
	"", "1", "-2", "2.5", `"abc"`, `" x "`, "true", "nil", "items", "words", "mixed", "nested", "none_", "item.deep.list", `{"k": "v"}`, "n", "s", "item.size",
	`"a,b,c", ","`, `"a,b,c", ",", 2`, `"abcabc", "b"`, `"xxaxx", "x"`, `"a", 3`, "1, 2", "3, 5.5, n", "items, 2", `[3, 1, 2], "desc"`, `words, "-"`, `["x", "y"], "-"`, "[[1], [2, [3]]]", `[["a", 1]]`,
	"[1, 1, 2]", "1..3", "items, [6]", `"aGk="`, `"{\"a\": [1, 2]}"`, `"1h30m"`, `"2024-05-06"`, `"UTC"`, `duration("1h")`, `"a-b-c", "-", "+"`, `"a-b-c", "-", "+", 1`, `"12"`, `"1.5"`, `"x", "y", "z", 1, 2`,
}

func builtins() {
	names := strings.Fields(`len type abs ceil floor round int float string trim trimPrefix trimSuffix upper lower split splitAfter replace repeat
		join indexOf lastIndexOf hasPrefix hasSuffix max min mean median toJSON fromJSON toBase64 fromBase64 duration date timezone first last get
		take keys values toPairs fromPairs reverse uniq concat flatten sort bitand bitor bitxor bitnand bitshl bitshr bitushr bitnot`)
	for i, name := range names {
		for j, args := range arguments {
			if j < 18 || (i+j)%3 != 0 {
				record(name + "(" + args + ")")
			}
		}
	}
	record("bitshl(1, -1)", "bitshl(1, 70)", "bitshr(-8, 1)", "bitushr(-8, 60)", "bitnand(12, 10)", "max(1, 2, n)", "max([1, n], 2)", "min(items)", "max([])", "min(\"a\")",
		"max(1, \"a\")", "mean([])", "median([1, 2, 3, 4])", "median([3, 1])", "abs(-2.5)", "round(-2.5)", "round(0.5)", "ceil(-0.5)", "int(2.9)", "int(-2.9)", "int(\"0x10\")", "int(\" 5\")",
		"int(\"+5\")", "float(\"1e3\")", "float(\"inf\")", "float(\"x\")", "int(1e30)", "string([1, \"a\", nil])", "string({\"b\": 1, \"a\": [2]})", "string(nil)", "string(2.0)", "string(1e6)", "string(1e-5)",
		"split(\"\", \",\")", "split(\"abc\", \"\")", "split(\"abc\", \"\", 2)", "split(\"a,b\", \",\", 0)", "splitAfter(\"a,b\", \",\", -1)", "repeat(\"ab\", 0)", "repeat(\"ab\", -1)", "repeat(\"a\", 2000000)",
		"join(mixed)", "join([], \",\")", "join(1..3)", "trim(\"xaxbx\", \"x\")", "trim(\"\\t a \\n\")", "upper(\"straße é\")", "lower(\"ÄÖ İ\")", "len(\"привет\")", "indexOf(\"привет\", \"и\")", "sort([\"b\", \"a\"])",
		"sort([2, 1.5, n])", "sort([1, \"a\"])", "sort(words)", "sort(items, \"up\")", "uniq([1, 1.0, \"1\"])", "flatten(nested)", "concat([], [])", "concat([1], nil)", "reverse(\"abc\")", "take(items, 99)", "take(items, -1)",
		"first([])", "last(none_)", "first(\"abc\")", "get(item, \"nil\")", "get(items, -1)", "get(items, 99)", "get(z, 1)", "get(item.nope, 1)", "fromJSON(\"[1\")", "fromJSON(\"1e2\")", "fromJSON(\"\\\"x\\\"\")", "toJSON(\"<&>\")",
		"fromBase64(\"!\")", "toBase64(\"é\")", "items | sum()", "items | filter(# > 2) | map(# * 2) | sum()", "s | upper() | len()", "5 | max(3)", "\"a\" | nope()", "items | map(# + n) | last()", "::len(items)", "len(items", "toJSON(n, 1)",
		"fromPairs([[\"a\", 1]]).a", "fromPairs([[1, 2]])[1]", "toPairs({\"a\": 1})[0][0]", "keys({\"a\": 1})[0]", "values(item.deep)[0][0]", "fromPairs([[1]])", "fromPairs(1)", "toPairs(items)")
}

func closures() {
	bodies := []string{
		"# > 2", "# == nil", "#", "true", "nil", "\"x\"", "#.age > 18", ".age > 18", "{ .name == \"Bob\" }", "#index > 1", "#acc", "nope", "{ let t = #; t != nil }", "len(.name) > 2", ".tags",
	}
	names := strings.Fields("all none any one filter map find findIndex findLast findLastIndex count sum groupBy sortBy reduce")
	for _, name := range names {
		for _, collection := range []string{"items", "users", "[]", "n", "mixed"} {
			for _, body := range bodies {
				text := name + "(" + collection + ", " + body + ")"
				if name == "groupBy" {
					text = "string(" + text + ")"
				}
				record(text)
			}
		}
		record(name+"()", name+"(items)", name+"(items, # > 1, 2)", name+"(items,)", name+"([true, false])", name+"(nil, true)", name+"(s, true)", name+"(item.deep.list, # == 1)")
	}
	record("reduce(items, #acc + #)", "reduce(items, #acc + #, 10)", "reduce([], #acc + #)", "reduce([], #acc + #, 1)", "reduce(words, #acc + #, \"\")", "reduce(items, #acc + #index, 0)", "sum(users, .age)", "sum(users, .name)",
		"sum(map(users, .age))", "map(users, {{\"n\": .name, \"i\": #index}})", "map(1..3, map(1..2, # * 10))", "map(filter(users, .age > 18), .name)", "filter(items, # in [1, 2])", "groupBy(users, .age > 18)[true][0].name",
		"groupBy(users, .name).Ann[0].age", "len(groupBy(items, # % 2 == 0))", "groupBy(items, # > 2)[false]", "groupBy(users, .nope)[nil]", "sortBy(users, .age)[0].name", "sortBy(users, .age, \"desc\")[0].name", "sortBy(users, .name, \"x\")",
		"sortBy(users, .name, 1)", "sortBy(mixed, #)", "count(users, .age > 18) > 1", "count(users, .age > 18) >= 1", "count([true, no, true])", "find(users, .age > 40).name", "find(users, .age > 99)", "find(users, .age > 99).name",
		"findIndex(users, .name == \"Cy\")", "filter(users, .age > 99)[0]", "filter(items, # > 2)[0]", "first(filter(items, # > 9))", "last(filter(items, # > 1))", "len(filter(items, # > 2))", "any(users, .name == \"Ann\" and .age > 20)", "#", ".x", "map(items, .x)",
		"map(users, #.nope)", "map(items, {#; 1})", "filter(items, # > 1; 2)", "all(users, .age)", "map(users, .tags?.[0])", "map(users, .tags[0])", "filter(users, .tags != nil) | map(.name)", "map(items, # ?? 1)", "map(items, #foo)", "let f = 2; map(items, # * f)", "map(items, let q = #; q)")
}

func syntax() {
	record("", " ", "1 +", "+ 1", "(1", "1)", "[1", "[1,", "[1,]", "[,]", "{", "{a}", "{a: 1,}", "{a: 1,,}", "{[1]: 2}", "1 2", "a b", "\"abc", "'abc", "`abc", "'a\\'b'", "\"a\\\"b\"", "\"\\u00e9\\x41\\101\"", "\"\\u{1F600}\"", "\"\\q\"", "\"\\u12\"",
		"'a\nb'", "`a\nb`", "`a``b`", "b\"abc\"", "b\"\\xff\\101\"", "b'\\u00e9'", "@", "n @ 1", "1 & 2", "1 | 2", "n = 1", "n === 1", "n <> 1", "n ! 1", "!!b", "not not b", "- - 1", "1..", "..1", "n.", "n..m", "n.1", "n?.", "item.\"x\"", "item.not", "item.in", "item?.matches",
		"1 // c", "1 /* c */ + 2", "/* c", "// c", "n not 1", "n not in", "b and or b", "b ? 1", "b ? 1 :", "b ? : 1", "let", "let x", "let x =", "let x = 1", "let x = 1;", "let 1 = 2; 3", "if", "if b", "if b {}", "else", "0x", "0xg", "1a", "1.2.3", "1e", "1e+", "09", "0b2", "0o8", "1__0",
		"99999999999999999999", "1e999", ".5", "5.", "5.foo", "#", "##", "items[", "items[]", "items[1", "items[1:", "items[:]", "items[::]", "item[\"name\"]", "item['name']", "f(", "len(1,", "len(,1)", "len(items,)", "item.name.size", "(1, 2)", "{}", "[]", "()", "nil.x", "true.x", "1.x",
		"b ?? no == true", "z ?? 1 + 2", "(z ?? 1) + 2", "z ?? (1 + 2)", "1 + z ?? 2", "n not contains 1", "s not contains \"x\"", "s not matches \"x\"", "s not startsWith \"H\"", "s matches \"[\"", "s matches e", "s matches \"^H.*\"", "\"a\" matches \"(\" + \"b\"", "s\n+\n1", "n +\n  nope\n", "\tnope", "привет", "\"привет\" + nope", "$", "_", "a$b", "é", "п")
}

func times() {
	record(`date("2024-01-02").Year()`, `date("2024-01-02").Month()`, `string(date("2024-01-02").Month())`, `int(date("2024-03-02").Month())`, `date("2024-01-02").Month() == 1`, `date("2024-01-02").Weekday().String()`, `date("2024-01-02").YearDay()`, `date("2024-01-02T03:04:05.678Z").Nanosecond()`,
		`date("2024-01-02").Unix()`, `date("2024-01-02").UnixMilli()`, `date("2024-01-02").Format("Mon Jan _2 2006 15:04:05.000 MST")`, `string(date("2024-01-02"))`, `date("2024-01-02") + duration("36h")`, `date("2024-01-02") - date("2024-01-01")`, `(date("2024-01-02") - date("2024-01-01")).Hours()`,
		`date("2024-01-02") > date("2024-01-01")`, `date("2024-01-02") == date("2024-01-02T00:00:00Z")`, `date("2024-01-02T00:00:00+02:00")`, `date("2024-01-02T00:00:00+02:00").UTC()`, `date("10:11:12")`, `date("2024-01-02 10:11:12")`, `date("02 Jan 24 10:11 UTC")`, `date("02 Jan 24 10:11 EST")`, `date("Tue, 02 Jan 2024 10:11:12 GMT")`,
		`date("nope")`, `date("2024-13-01")`, `date("2023/05/06", "2006/01/02")`, `date("2023/05/06", "2006-01-02")`, `date("2024-07-01 10:00", "2006-01-02 15:04", "Europe/Berlin")`, `date("2024-07-01 10:00", "2006-01-02 15:04", "Nope/Zone")`, `timezone("Europe/Berlin").String()`, `date(timezone("Europe/Berlin"), "2024-01-02")`, `date(timezone("Asia/Tokyo"), "2024-01-02").UTC().Format("2006-01-02T15:04:05Z07:00")`,
		`date("2024-01-31").AddDate(0, 1, 0)`, `date("2024-01-31").AddDate(1, -1, 5)`, `date("2024-01-02").Add(duration("1h")).Hour()`, `date("2024-01-02").Add(5)`, `date("2024-01-02").Nope()`, `date("2024-01-02").Nope`, `date("2024-01-02").Truncate(duration("24h"))`, `date("2024-01-02T13:00:00Z").Round(duration("24h"))`, `date("2024-01-02").Before(date("2024-01-03"))`, `date("2024-01-02").IsZero()`,
		`date("2024-01-02").In(timezone("America/New_York")).Format("15:04 MST -07:00")`, `date("2024-01-02").Date()`, `duration("1h30m")`, `string(duration("1h30m"))`, `duration("1h30m").Minutes()`, `duration("90s").String()`, `duration("1.5s").Milliseconds()`, `duration("-1h") + duration("30m")`, `duration("1h") * 2`, `2 * duration("1h")`, `duration("1h") * 1.5`, `duration("1h") * duration("2ns")`, `duration("1h") / 2`, `duration("1h") > duration("30m")`,
		`-duration("1h")`, `abs(duration("1h"))`, `duration("1h").Truncate(duration("25m"))`, `duration("1h").Round(duration("25m"))`, `duration("x")`, `duration("5")`, `duration("1h") == duration("60m")`, `max(duration("1h"), duration("2h"))`, `[date("2024-01-02"), duration("1s")]`, `type(date("2024-01-02"))`, `type(duration("1s"))`, `type(date("2024-01-02").Month())`, `toJSON({"d": date("2024-01-02"), "p": duration("1s")})`, `map([duration("1s")], .Seconds())`, `item.size.Hours()`, `now().Year() > 2000`, `now(1)`, `date()`, `date(1)`)
}

func functions() {
	record("asInt(inputs.parameters.num) + 1", "asInt(\"x\")", "asInt()", "asInt(1, 2)", "asFloat(\"2.5\") * 2", "asFloat(true)", "toJson(item)", "toJson(inputs.parameters.html)", "toJson(1, 2)", "toJson(sprig)", "string(asInt(\"5\"))", "inputs.parameters[\"my-param\"]", "inputs.parameters.my-param",
		"inputs.parameters.msg + \"-\" + inputs.parameters.num", "inputs.parameters.msg + 1", "inputs.parameters.html", "\"\\u003ca\\u003e\"", "fromJSON(inputs.parameters.list)[1]", "fromJSON(inputs.parameters.obj).a.b", "jsonpath(inputs.parameters.obj, '$.a.b')", "jsonpath(5, \"x\")", "jsonpath(\"{\", \"$\")", "jsonpath(doc)", "jsonpath(doc, nil)", "jsonpath(item, \"$\")")
}

func paths() {
	for _, path := range []string{
		"$", "$.n", "$.t", "$.nope", "$.store.bike.color", "$.store.book", "$.store.book[0]", "$.store.book[0].title", "$.store.book[-1].title", "$.store.book[3]", "$.store.book[1:]", "$.store.book[:2].title", "$.store.book[0:3:2].title", "$.store.book[::-1].title", "$.store.book[0,1].title", "$.store.book[0,9].title",
		"$['store']['bike']", "$.store['bike','book']", "$.store.bike['price','color']", "$.store.*", "$.store.book[*]", "$.store.book.*.price", "$.store.book[*].isbn", "$..price", "$..book[0]", "$..book[*].title", "$..*", "$.store.book.length", "$.store.bike.length", "$.store.bike.color.length", "$.store.book[(@.length-1)].title",
		"$.store.book[?(@.price > 10)].title", "$.store.book[?(@.price < 10)]", "$.store.book[?(@.price >= 12.5 && @.price <= 20)].title", "$.store.book[?(@.isbn)].title", "$.store.book[?(!@.isbn)].title", "$.store.book[?(@.title == 'B')].price", "$.store.book[?(@.title == \"B\")].price", "$.store.book[?(@.title != 'B')].price",
		"$.store.book[?(@.title =~ '[AB]')].title", "$.store.book[?(@.price in [8, 20])].title", "$.store.book[?(@.title in ['A'])].title", "$.store.book[?(@.price + 1 == 9)].title", "$.store.book[?(@.price * 2 > 20)].title", "$.store.book[?(@.price % 3 == 2)].title", "$.store.book[?(@.price > 10)][0].title", "$.store.book[?(@.tags)].tags[0]",
		"$.store.book[?(@.price == $.store.bike.price)]", "$.store.book[?(@.title == 'A' || @.title == 'C')].title", "$.store.bike[?(@ == 'red')]", "$.store.book[?()]", "$.store.book[", "$.store.book[]", "$.", "$..", "", "x", "$x", "@", "$.store.book[1:2:0]", "$.store.book['title']", "$.store[0]", "$.n.x", "$.store.book[?(@.price not in [8])].title", "$[\"store\"].bike.price",
	} {
		record("jsonpath(doc, " + quoted(path) + ")")
	}
}
