from pipeline.teaching.shelf import TeacherShelf


def test_a_place_is_its_own_for_each_identity_and_each_contents(tmp_path):
    places = {
        TeacherShelf(tmp_path, {"teacher": teacher}, 2.0).place({"precision": precision})
        for teacher in ("a", "b")
        for precision in ("no", "bf16")
    }
    assert len(places) == 4
    assert TeacherShelf(tmp_path, {"teacher": "a"}, 9.0).place({"precision": "no"}) in places


def test_room_is_made_by_deleting_what_other_teachers_said(tmp_path):
    one, other = (TeacherShelf(tmp_path, {"teacher": name}, 2.0) for name in "ab")
    places = [shelf.place({"hidden": hidden}) for shelf in (one, other) for hidden in (True, False)]
    one.make_room()
    for place in places[:2]:
        place.mkdir()
    other.make_room()
    assert not any(place.exists() for place in places)
    for place in places[2:]:
        place.mkdir()
    other.make_room()
    assert [place.exists() for place in places] == [False, False, True, True]
