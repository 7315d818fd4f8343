package main

import (
	"fmt"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

// zones change their clocks at midnight, by half an hour, and in the usual ways. The library never comes to an end at the day
// that Pacific/Apia left out in 2011.
var zones = []string{
	"America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Asia/Beirut", "Africa/Cairo", "America/Sao_Paulo",
	"Pacific/Apia", "America/St_Johns",
}

// starts lie shortly before such changes.
var starts = []string{
	"2026-03-07T12:34:56Z", "2026-03-28T22:59:59Z", "2026-03-29T00:30:00.5Z", "2026-10-24T22:00:00Z", "2026-10-31T21:00:00Z",
	"2026-11-01T03:59:59Z", "2026-04-04T12:00:00Z", "2026-10-03T14:45:00Z", "2018-11-03T20:00:00Z", "2018-02-17T12:00:00Z",
	"2024-02-28T23:59:59.999999999Z",
}

var specs = []string{
	"* * * * *", "*/20 * * * *", "30 2 * * *", "30 0 * * *", "30 1 * * *", "59 23 * * *", "0 */2 * * *", "15 2-3 * * *", "0 0 30 * *",
	"30 2 * * SUN", "0 0 13 * FRI", "0 0 */10 * MON", "0 0 29 2 *", "5/20 1 * JAN-MAR ?", "@hourly", "@daily", "@weekly", "@monthly",
	"@yearly", "@every 1500ms",
}

// A row is a schedule, a start, and the next five moments after it, each found from the one before; a schedule that cannot be
// read has its reason in their place.
func schedules() {
	for _, spec := range []string{
		"", "* * * *", "60 * * * *", "0 0 0 * *", "0 0 * * 5-1", "*/0 * * * *", "0 0 * january *", "1-2-3 * * * *", "1/2/3 * * * *",
		"@every soon", "@every", "@reboot", "@Daily", " @daily", "TZ=Nowhere/City * * * * *", "0 0 * * 7", "-1 * * * *", "*-3 * * * *",
		"0 0 * * 1,,3", ", * * * *", "a-b * * * *", "1- * * * *", "*/x * * * *", "?/2 * * * *", "TZ=UTC TZ=UTC * * * * *",
	} {
		fmt.Printf("%s\t2026-03-07T12:34:56Z\t%s\n", quoted(spec), next(spec, "2026-03-07T12:34:56Z"))
	}
	for _, zone := range zones {
		for _, start := range starts {
			for _, spec := range specs {
				spec = "CRON_TZ=" + zone + " " + spec
				fmt.Printf("%s\t%s\t%s\n", quoted(spec), start, next(spec, start))
			}
		}
	}
}

func next(spec, start string) string {
	schedule, err := cron.ParseStandard(spec)
	if err != nil {
		return quoted(err.Error())
	}
	at, err := time.Parse(time.RFC3339Nano, start)
	if err != nil {
		panic(err)
	}
	text := ""
	for i := 0; i < 5; i++ {
		at = schedule.Next(at)
		if at.IsZero() {
			return text + " never"
		}
		text += " " + at.UTC().Format(time.RFC3339)
	}
	return text[1:]
}
