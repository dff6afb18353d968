package auth

import (
	"strings"
	"testing"
)

func TestForm(t *testing.T) {
	made := RobotForm.New()
	raw := made.Reveal()
	if !RobotForm.Fits(made) || !RobotForm.Begins(made) || len(raw) != len("bth_rb_")+59 || raw == RobotForm.New().Reveal() {
		t.Errorf("made %s", raw)
	}
	if string(made.Hash()) == string(RobotForm.New().Hash()) || len(made.Hash()) != 32 {
		t.Error("the hash is not one")
	}
	other := "A"
	if raw[20] == 'A' {
		other = "B"
	}
	for what, s := range map[string]string{
		"a letter that differs": raw[:20] + other + raw[21:],
		"one that is cut":       raw[:len(raw)-1],
		"one that goes on":      raw + "A",
		"lower case":            "bth_rb_" + strings.ToLower(raw[7:]),
		"another form":          "bth_pt_" + raw[7:],
		"the prefix":            "bth_rb_",
		"nothing":               "",
	} {
		if RobotForm.Fits(Secret(s)) {
			t.Errorf("%s fits: %s", what, s)
		}
	}
}
