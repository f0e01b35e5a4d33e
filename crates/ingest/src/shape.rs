//! Field names to columns, by shape prediction.
//!
//! Records of one source have the same fields in the same order. So each field remembers which one followed it last
//! time under the same parent, and the next record's field is compared with that prediction first: one comparison of
//! bytes instead of a hash look-up. Nested objects are nodes with children; a leaf's full name is dotted.

use logmill_model::field::{Canonical, alias};
use rustc_hash::FxHashMap;

/// A field name in context: a node of the tree of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(u32);

/// The root of the tree: the record itself.
pub(crate) const ROOT: NodeId = NodeId(0);

/// Names remembered before the tree is begun anew: a bound on what adversarial names can hold.
const NODES_MAX: usize = 65_536;

#[derive(Debug)]
struct Node {
    key: Box<str>,
    /// Index of the full name in `Shapes::names`.
    name: u32,
    /// The child that came first last time.
    first_child: Option<NodeId>,
    /// The sibling that came next last time.
    next: Option<NodeId>,
    /// The record that had this node last, to find keys that stand twice.
    seen: u64,
}

/// A full (dotted) name; nodes `a.b` and `a` → `b` share one.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    pub(crate) alias: Option<(Canonical, u8)>,
    /// The record that had a value under this name last.
    seen: u64,
}

/// Index of a full name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameId(pub(crate) u32);

/// The tree of field names seen so far.
#[derive(Debug)]
pub(crate) struct Shapes {
    nodes: Vec<Node>,
    children: FxHashMap<(NodeId, Box<str>), NodeId>,
    names: Vec<Name>,
    by_name: FxHashMap<Box<str>, NameId>,
    record: u64,
}

impl Shapes {
    pub(crate) fn new() -> Self {
        let root = Node {
            key: Box::from(""),
            name: 0,
            first_child: None,
            next: None,
            seen: 0,
        };
        let name = Name {
            text: Box::from(""),
            alias: None,
            seen: 0,
        };
        Self {
            nodes: vec![root],
            children: FxHashMap::default(),
            names: vec![name],
            by_name: FxHashMap::default(),
            record: 0,
        }
    }

    /// Whether so many names were seen that the tree should be begun anew (between requests only).
    pub(crate) fn is_full(&self) -> bool {
        self.nodes.len() > NODES_MAX
    }

    /// Begins a record.
    pub(crate) fn begin_record(&mut self) {
        self.record += 1;
    }

    pub(crate) fn name(&self, id: NameId) -> &Name {
        &self.names[id.0 as usize]
    }

    pub(crate) fn names_len(&self) -> usize {
        self.names.len()
    }

    /// The node of `key` under `parent`, after `previous` (its sibling before, none for the first).
    #[inline]
    pub(crate) fn child(&mut self, parent: NodeId, previous: Option<NodeId>, key: &str) -> NodeId {
        let predicted = match previous {
            Some(previous) => self.nodes[previous.0 as usize].next,
            None => self.nodes[parent.0 as usize].first_child,
        };
        if let Some(predicted) = predicted
            && *self.nodes[predicted.0 as usize].key == *key
        {
            return predicted;
        }
        self.child_unpredicted(parent, previous, key)
    }

    #[cold]
    fn child_unpredicted(&mut self, parent: NodeId, previous: Option<NodeId>, key: &str) -> NodeId {
        let lookup = (parent, Box::<str>::from(key));
        let child = match self.children.get(&lookup) {
            Some(child) => *child,
            None => self.add(lookup),
        };
        match previous {
            Some(previous) => self.nodes[previous.0 as usize].next = Some(child),
            None => self.nodes[parent.0 as usize].first_child = Some(child),
        }
        child
    }

    fn add(&mut self, (parent, key): (NodeId, Box<str>)) -> NodeId {
        let text: Box<str> = if parent == ROOT {
            key.clone()
        } else {
            format!(
                "{}.{key}",
                self.names[self.nodes[parent.0 as usize].name as usize].text
            )
            .into()
        };
        let name = self.name_id(&text);
        let id = NodeId(index(self.nodes.len()));
        self.nodes.push(Node {
            key: key.clone(),
            name: name.0,
            first_child: None,
            next: None,
            seen: 0,
        });
        self.children.insert((parent, key), id);
        id
    }

    /// The id of a full name.
    pub(crate) fn name_id(&mut self, text: &str) -> NameId {
        if let Some(id) = self.by_name.get(text) {
            return *id;
        }
        let id = NameId(index(self.names.len()));
        self.names.push(Name {
            text: Box::from(text),
            alias: alias(text),
            seen: 0,
        });
        self.by_name.insert(Box::from(text), id);
        id
    }

    /// The full name of a node.
    #[inline]
    pub(crate) fn node_name(&self, node: NodeId) -> NameId {
        NameId(self.nodes[node.0 as usize].name)
    }

    /// Marks a node as present in this record; false when it was already.
    #[inline]
    pub(crate) fn mark_node(&mut self, node: NodeId) -> bool {
        let node = &mut self.nodes[node.0 as usize];
        std::mem::replace(&mut node.seen, self.record) != self.record
    }

    /// Marks a full name as having a value in this record; false when it had one already.
    #[inline]
    pub(crate) fn mark_name(&mut self, name: NameId) -> bool {
        let name = &mut self.names[name.0 as usize];
        std::mem::replace(&mut name.seen, self.record) != self.record
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length)
        .expect("names are bounded by the body's bytes, and bodies are below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_the_order() {
        let mut shapes = Shapes::new();
        let a = shapes.child(ROOT, None, "a");
        let b = shapes.child(ROOT, Some(a), "b");
        assert_ne!(a, b);
        assert_eq!(shapes.child(ROOT, None, "b"), b, "another first field");
        assert_eq!(shapes.child(ROOT, Some(b), "a"), a);
        assert_eq!(shapes.child(ROOT, None, "b"), b);
        let nested = shapes.child(a, None, "b");
        assert_ne!(nested, b);
        let dotted = shapes.child(ROOT, None, "a.b");
        assert_eq!(shapes.node_name(nested), shapes.node_name(dotted));
        assert_eq!(&*shapes.name(shapes.node_name(nested)).text, "a.b");
    }

    #[test]
    fn a_name_is_marked_once_a_record() {
        let mut shapes = Shapes::new();
        let a = shapes.child(ROOT, None, "a");
        for _ in 0..2 {
            shapes.begin_record();
            assert!(shapes.mark_node(a));
            assert!(!shapes.mark_node(a));
        }
    }
}
