package main

import (
	"fmt"
	"strings"

	"github.com/Knetic/govaluate"
)

func conditions() {
	operators := []string{"==", "!=", ">", ">=", "<", "<=", "=~", "!~", "in", "&&", "||", "+", "-", "*", "/", "%", "**", "&", "|", "^", ">>", "<<", "?", ":", "??", ","}
	values := []string{"1", "2.5", "true", "false", "abc", `"abc"`, `"2024-01-02"`, "[a-b]", "(1, 2)", "-3", "!true", `"("`}
	for _, operator := range operators {
		for i, left := range values {
			for j, right := range values {
				if (i+j)%2 == 0 {
					condition(left + " " + operator + " " + right)
				}
			}
		}
	}
	for _, text := range []string{
		"", " ", "true", "false", "abc", "1", "nil", "(true)", "((true))", "(((1 == 1)))", "()", ")", "(", "(true", "true)", ")(", "!true", "!!true", "! true", "!(true)", "!(!(true))", "-1 < 0", "- 1 < 0", "-(1) < 0", "~1 == -2", "1 - 2 - 3 == -4", "1 - (2 - 3) == 2", "8 / 4 / 2 == 1", "2 ** 3 ** 2 == 512", "2 ** 3 ** 2 == 64",
		"10 % 4 % 3 == 2", "1 + 2 * 3 == 7", "(1 + 2) * 3 == 9", "1 + 2 * 3 - 4 / 2 == 5", "7 & 3 | 8 == 11", "1 << 2 + 1 == 8", "1 << 2 << 1 == 8", "16 >> 2 >> 1 == 2", "5 ^ 1 == 4", "5 ^ 1 & 7 == 4", "true && false || true", "false || true && false", "true || false && false", "(true || false) && false", "true == true == true", "1 < 2 == true", "1 == 1 && 2 == 2", "1 == 1 && 2 == 3 || 4 == 4",
		"true ? 1 == 1 : 1 == 2", "false ? 1 == 1 : 1 == 2", "true ? false ? true : false : true", "1 == 2 ? true : 1 == 1 ? true : false", "abc ?? def == abc", "true ? abc : def == abc", "a == a, b == b", "1 in (1, 2, 3)", "4 in (1, 2, 3)", "abc in (abc, def)", "abc in (\"abc\")", "abc in abc", "1 IN (1, 2)", "true in (true, 1)", "in == in", "a in", "(a) == (a)", "a b", "a(b)", "a (b)", "foo()", "true()", "1 2", "1 (2)", "(1) 2", "(1)(2) == 2",
		"'single' == \"single\"", "'it\\'s' == \"it's\"", "\"a b\" == \"a b\"", "\"a\\\"b\" == 'a\"b'", "\"unclosed", "'unclosed", "[unclosed", "[a b] == \"a b\"", "[] == \"\"", "[a\\]b] == \"a]b\"", "a\\-b == \"a-b\"", "a_b == a_b", "a1 == a1", "1a == 1a", "_a == _a", "a.b == a.b", "a.B == a.B", "a. == a", ".5 == 0.5", "5. == 5", "1.2.3 == 1", "0x1F == 31", "0xg == 1", "0x == 0", "00 == 0", "1e3 == 1000", "1,000 == 1", "{{x}} == y", "{{=x}}", "a = b", "a === b", "a == b == ", "== a", "a !b", "a ! b", "a <> b", "a => b", "a and b", "a or b", "not a", "$x == $x", "a@b == a@b", "a:b == a:b", "a/b == a/b", "/a/b == /a/b", "http://x == http://x", "#a == #a", "a;b", "`a` == `a`", "a && b", "a || true", "true || a", "false && a", "\"x\" && true",
		"\"2024-01-02\" == \"2024-01-02\"", "\"2024-01-02\" < \"2024-01-03\"", "\"2024-01-02T00:00:00Z\" == \"2024-01-02\"", "\"2024-01-02 10:00\" > \"2024-01-02\"", "\"2024-01-02T10:00:00+02:00\" == \"2024-01-02 08:00:00\"", "\"3:04PM\" == \"3:04PM\"", "\"Mon Jan  2 15:04:05 2006\" > \"2006-01-01\"", "\"2024-01-02\" == 1704153600", "\"2024-01-02\" + 1 == 1704153601", "\"2024-13-02\" == \"2024-13-02\"", "\"2024-01-02\" =~ \"2024\"", "2024-01-02 == 2021", "Succeeded == Succeeded", "Succeeded != Failed", "heads =~ \"^h\"", "heads =~ h", "heads =~ [h.*]", "heads !~ \"x+\"", "heads =~ \"(\"", "heads =~ (", "heads =~ 1", "1 =~ \"1\"", "\"a\" + 1 == \"a1\"", "1 + \"a\" == \"1a\"", "true + \"a\" == \"truea\"", "1 + true", "1.0 == 1", "0.1 + 0.2 == 0.3", "1 / 0 > 5", "0 / 0 == 0 / 0", "1 % 0 == 1", "\"\" == ''", "null == null", "nil == null", "\"true\" == true", "true == \"true\"", "5 == \"5\"", "100 > 99", "100 > \"99\"", "\"100\" > \"99\"", "b > a", "abc < abd", "true > false", "ä == ä", "日本 == \"日本\"", "a == \"a\" && (b == c || 1 < 2) && !(x == y)", "10 > 9 > 8", "a, b", "(a, b) == (a, b)", "1 in (1, 2) && 3 in (3, 4)", "! a", "-a", "~true", "-true", "5 > 3 ? true : false", "5 > 3 ?? false", "(5 > 3) == true", "a == 'a' == true", "x != \"\"", "'' != ''", "\"a\" in (\"a\", 'b')", "1 == 1.0000000000000001", "1\t==\n1",
	} {
		condition(text)
	}
}

// condition evaluates as Argo does: variables are taken for texts.
func condition(text string) {
	outcome, message := decide(text)
	row(text, outcome, message)
}

func decide(text string) (outcome, message string) {
	defer func() {
		if r := recover(); r != nil {
			outcome, message = "PANIC", fmt.Sprint(r)
		}
	}()
	if text == "" {
		return "true bool", ""
	}
	expression, err := govaluate.NewEvaluableExpression(text)
	if err != nil {
		return "PARSE_ERR", strings.TrimSpace(err.Error())
	}
	tokens := expression.Tokens()
	for i, token := range tokens {
		if token.Kind == govaluate.VARIABLE {
			tokens[i].Kind = govaluate.STRING
		}
	}
	expression, err = govaluate.NewEvaluableExpressionFromTokens(tokens)
	if err != nil {
		return "PARSE_ERR", strings.TrimSpace(err.Error())
	}
	value, err := expression.Evaluate(nil)
	if err != nil {
		return "EVAL_ERR", strings.TrimSpace(err.Error())
	}
	if _, ok := value.(bool); ok {
		return fmt.Sprintf("%v bool", value), ""
	}
	return quoted(fmt.Sprintf("%v", value)), ""
}
