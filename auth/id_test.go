package auth

import "testing"

func TestID(t *testing.T) {
	uuid := ID("").With("entryuuid", "a b")
	both := uuid.With("nsuniqueid", "n:1")
	if both != "entryuuid:a%20b nsuniqueid:n:1" || uuid.With("x", "") != uuid {
		t.Errorf("%q", both)
	}
	for _, tt := range []struct {
		name       string
		now, kept  ID
		same, told bool
	}{
		{"the same", uuid, uuid, true, true},
		{"another", ID("").With("entryuuid", "c"), uuid, false, true},
		{"a longer value", ID("").With("entryuuid", "a bc"), uuid, false, true},
		{"one more mark", both, uuid, true, true},
		{"one mark less", uuid, both, true, true},
		{"one of two is new", ID("").With("entryuuid", "c").With("nsuniqueid", "n:1"), both, true, true},
		{"both are new", ID("").With("entryuuid", "c").With("nsuniqueid", "n:2"), both, false, true},
		{"the value of another kind", ID("").With("objectguid", "a b"), uuid, false, false},
		{"none any more", "", uuid, false, false},
		{"none before", uuid, "", false, false},
		{"none at all", "", "", false, false},
		{"what nobody has", uuid, "gone:", false, false},
	} {
		if same, told := tt.now.Is(tt.kept); same != tt.same || told != tt.told {
			t.Errorf("%s: same %v, told %v", tt.name, same, told)
		}
	}
}
