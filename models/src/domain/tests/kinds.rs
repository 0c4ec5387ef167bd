use super::*;

/// Returns the tensors of a domain whose head of kinds sees plants in the first number of a description, and parts in the second.
fn with_kinds() -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
    let mut weight = vec![0.0; 4 * DESCRIPTION_DIM];
    (weight[0], weight[DESCRIPTION_DIM + 1]) = (1.0, 1.0);
    let kinds = [("kinds.weight", vec![4, DESCRIPTION_DIM], weight), ("kinds.bias", vec![4], vec![0.0, 0.0, 0.0, 3.0])];
    tensors().into_iter().chain(kinds).collect()
}

#[test]
fn a_kind_is_told_where_it_is_likely_enough() {
    let domain = opened(&header(), with_kinds()).unwrap();
    let kind = |first, second| domain.kind(&description(first, second));
    assert_eq!(kind(9.0, 0.0), Some(Kind::Plant));
    assert_eq!(kind(0.0, 9.0), Some(Kind::Part));
    assert_eq!(kind(0.0, 0.0), Some(Kind::Other));
    assert_eq!(kind(3.0, 0.0), None, "a plant as likely as neither");
    assert_eq!(opened(&header(), tensors()).unwrap().kind(&description(9.0, 0.0)), None);
}

#[test]
fn a_file_keeps_its_kinds_and_their_size_is_checked() {
    let domain = opened(&header(), with_kinds()).unwrap();
    let again = Domain::from_bytes(&super::super::file::serialized(&domain), std::path::Path::new("again")).unwrap();
    assert_eq!(again.kind(&description(9.0, 0.0)), Some(Kind::Plant));
    let mut narrow = with_kinds();
    *narrow.last_mut().unwrap() = ("kinds.bias", vec![3], vec![0.0; 3]);
    let error = opened(&header(), narrow).unwrap_err();
    assert_eq!(error, "expected kinds.bias of shape [4], found [3]");
}
